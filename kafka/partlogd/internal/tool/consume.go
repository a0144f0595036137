package tool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const consumeHelp = `
Usage: partlogd consume --topic TOPIC [flags]

Prints records as they come, until it is interrupted, or as many as --max-messages says.

  partlogd consume --topic orders --from-beginning
  partlogd consume --topic orders --group billing --max-messages 10 --property print.key=true
  partlogd consume --topic orders --from-beginning --timeout-ms 2000 --json | jq .value

Flags:
  --topic TOPIC                     or --include REGEX for all topics that match
  --from-beginning                  the first records too; by default those that come from now on. A group that has
                                    committed offsets goes on there in any case
  --group GROUP                     be a member of a consumer group, and commit what was printed; default none
  --partition N                     this one alone, from --offset
  --offset WHERE                    earliest, latest (default), or a number; a negative one counts from the end
  --max-messages N                  end after so many
  --timeout-ms N                    end when nothing has come for so long
  --isolation-level LEVEL           read_uncommitted (default) or read_committed
  --json                            a JSON object a line: topic, partition, offset, timestamp, key, value, headers
  --property KEY=VALUE              print.timestamp, print.partition, print.offset, print.epoch, print.headers, print.key,
                                    print.value (true), key.separator (\t), line.separator (\n), headers.separator (,),
                                    null.literal (null)
  --formatter-property KEY=VALUE    the same
  --consumer-property KEY=VALUE     properties of a Java consumer
` + connectionHelp

// consumer is what the command line of consume says.
type consumer struct {
	connection
	topic, include, group string
	partition             int
	offset                string
	beginning             bool
	most                  int64
	timeout               time.Duration
	format                format
	joining               atomic.Bool
}

func consume(ctx context.Context, args []string, s Streams) error {
	f := newFlags("consume", consumeHelp)
	c := &consumer{}
	c.addTo(f)
	f.StringVar(&c.topic, "topic", "", "")
	f.StringVar(&c.include, "include", "", "")
	f.StringVar(&c.include, "whitelist", "", "")
	f.StringVar(&c.group, "group", "", "")
	f.IntVar(&c.partition, "partition", -1, "")
	f.StringVar(&c.offset, "offset", "", "")
	f.BoolVar(&c.beginning, "from-beginning", false, "")
	f.Int64Var(&c.most, "max-messages", -1, "")
	timeout := f.Int64("timeout-ms", -1, "")
	isolation := f.String("isolation-level", "", "")
	f.BoolVar(&c.format.json, "json", false, "")
	f.Var(&c.format.props, "property", "")
	f.Var(&c.format.props, "formatter-property", "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if err := errors.Join(f.noWords(), c.check()); err != nil {
		return &UsageError{err}
	}
	c.timeout = time.Duration(*timeout) * time.Millisecond
	if *isolation != "" {
		c.props.Set("isolation.level=" + *isolation)
	}
	return c.run(ctx, s)
}

func (c *consumer) check() error {
	switch {
	case (c.topic == "") == (c.include == ""):
		return errors.New("one of --topic and --include is needed: what is to be read?")
	case c.partition < 0 && c.offset != "":
		return errors.New("--offset needs --partition")
	case c.partition >= 0 && c.group != "":
		return errors.New("--group divides the partitions among its members, so --partition cannot be with it")
	case c.partition >= 0 && c.include != "":
		return errors.New("--partition needs --topic")
	case c.beginning && c.offset != "":
		return errors.New("--from-beginning and --offset cannot both be")
	case c.most == 0:
		return errors.New("--max-messages 0 would print nothing")
	}
	return nil
}

// where turns --offset and --from-beginning into a position.
func (c *consumer) where() (kgo.Offset, error) {
	switch {
	case c.beginning || c.offset == "earliest":
		return kgo.NewOffset().AtStart(), nil
	case c.offset == "" || c.offset == "latest":
		return kgo.NewOffset().AtEnd(), nil
	}
	n, err := strconv.ParseInt(c.offset, 10, 64)
	if err != nil {
		return kgo.Offset{}, Usagef("--offset %s: want earliest, latest or a number", c.offset)
	}
	if n < 0 {
		return kgo.NewOffset().AtEnd().Relative(n), nil
	}
	return kgo.NewOffset().At(n), nil
}

func (c *consumer) options() ([]kgo.Opt, error) {
	at, err := c.where()
	if err != nil {
		return nil, err
	}
	if c.partition >= 0 {
		return []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.topic: {int32(c.partition): at}})}, nil
	}
	opts := []kgo.Opt{kgo.ConsumeTopics(c.topic)}
	if c.include != "" {
		opts = []kgo.Opt{kgo.ConsumeTopics(c.include), kgo.ConsumeRegex()}
	}
	if c.beginning || c.props["auto.offset.reset"] == "" {
		opts = append(opts, kgo.ConsumeResetOffset(at))
	}
	group := c.group
	if group == "" {
		group = c.props["group.id"]
	}
	if group != "" {
		c.joining.Store(true) // until it has partitions, or a rebalance has given it none, nothing can come
		opts = append(opts, kgo.ConsumerGroup(group), kgo.AutoCommitMarks(), kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
			c.joining.Store(false)
		}))
	}
	return opts, nil
}

func (c *consumer) run(ctx context.Context, s Streams) (err error) {
	opts, err := c.options()
	if err != nil {
		return err
	}
	client, err := c.open(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	out := bufio.NewWriterSize(s.Out, 64<<10)
	n, err := c.loop(ctx, client, out)
	err = errors.Join(unless(ctx, err), out.Flush())
	grouped := c.group != "" || c.props["group.id"] != ""
	if grouped && !errors.Is(err, syscall.EPIPE) {
		leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err = errors.Join(err, about("commit", client.CommitMarkedOffsets(leave)))
		cancel()
	}
	fmt.Fprintf(s.Err, "Processed a total of %d messages\n", n)
	return err
}

// loop prints records until there have been enough, or no more come.
func (c *consumer) loop(ctx context.Context, client *kgo.Client, out *bufio.Writer) (n int64, err error) {
	for {
		poll, cancel := ctx, context.CancelFunc(func() {})
		if c.timeout > 0 {
			poll, cancel = context.WithTimeout(ctx, c.timeout)
		}
		fetches := client.PollFetches(poll)
		idle := poll.Err() != nil && ctx.Err() == nil
		cancel()
		if ctx.Err() != nil {
			return n, nil
		}
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				return n, about(fmt.Sprintf("%s-%d", e.Topic, e.Partition), e.Err)
			}
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			if err := c.format.write(out, r); err != nil {
				return n, err
			}
			client.MarkCommitRecords(r)
			if n++; n == c.most {
				return n, nil
			}
		}
		if err := out.Flush(); err != nil { // whoever reads a pipe sees each record at once
			return n, err
		}
		if idle && fetches.NumRecords() == 0 && !c.joining.Load() {
			return n, nil
		}
	}
}
