package tool

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const offsetsHelp = `
Usage: partlogd offsets [--topic REGEX] [flags]

Prints TOPIC:PARTITION:OFFSET for each partition, as kafka-get-offsets does.

  partlogd offsets --topic orders --time earliest

Flags:
  --topic REGEX                     default all topics
  --partitions N,...                default all
  --topic-partitions LIST           topics with partitions: orders:0,orders:2-5,events
  --time WHEN                       latest (-1, the default), earliest (-2), max-timestamp (-3), or milliseconds since 1970:
                                    the first record from then on
  --exclude-internal-topics
` + connectionHelp

func offsets(ctx context.Context, args []string, s Streams) error {
	f := newFlags("offsets", offsetsHelp)
	var c connection
	var only, chosen list
	c.addTo(f)
	topic := f.String("topic", "", "")
	f.Var(&only, "partitions", "")
	f.Var(&chosen, "topic-partitions", "")
	when := f.String("time", "latest", "")
	noInternal := f.Bool("exclude-internal-topics", false, "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if err := f.noWords(); err != nil {
		return err
	}
	if len(chosen) > 0 && (*topic != "" || len(only) > 0) {
		return Usagef("--topic-partitions says it all, so --topic and --partitions cannot be with it")
	}
	at, err := parseWhen(*when)
	if err != nil {
		return &UsageError{err}
	}
	wanted, err := wantedPartitions(*topic, only, chosen)
	if err != nil {
		return &UsageError{err}
	}
	client, err := c.open()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return err
	}
	all, err := metadata(ctx, client)
	if err != nil {
		return err
	}
	ask := map[string][]int32{}
	for _, m := range all {
		if m.IsInternal && *noInternal {
			continue
		}
		for _, p := range m.Partitions {
			if wanted(*m.Topic, p.Partition) {
				ask[*m.Topic] = append(ask[*m.Topic], p.Partition)
			}
		}
	}
	if len(ask) == 0 {
		return errors.New("no partition is there that was asked for")
	}
	found, err := listOffsets(ctx, client, ask, at)
	if err != nil {
		return err
	}
	for _, t := range sortedKeys(found) {
		for _, p := range sortedKeys(found[t]) {
			text := ""
			if o := found[t][p]; o >= 0 {
				text = strconv.FormatInt(o, 10)
			}
			if _, err := fmt.Fprintf(s.Out, "%s:%d:%s\n", t, p, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func parseWhen(s string) (int64, error) {
	if n, ok := map[string]int64{"latest": -1, "earliest": -2, "max-timestamp": -3}[strings.ToLower(s)]; ok {
		return n, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < -3 {
		return 0, fmt.Errorf("--time %s: want latest, earliest, max-timestamp or milliseconds since 1970", s)
	}
	return n, nil
}

// wantedPartitions makes a predicate of the flags that choose.
func wantedPartitions(topic string, only, chosen list) (func(topic string, partition int32) bool, error) {
	pattern := func(s string) (*regexp.Regexp, error) {
		return regexp.Compile("^(?:" + strings.ReplaceAll(s, ",", "|") + ")$")
	}
	if len(chosen) == 0 {
		re, err := pattern(topic)
		if err != nil {
			return nil, fmt.Errorf("--topic: %w", err)
		}
		var numbers []int32
		for _, item := range only {
			n, err := strconv.ParseInt(item, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("--partitions: %q is no number", item)
			}
			numbers = append(numbers, int32(n))
		}
		return func(t string, p int32) bool {
			return (topic == "" || re.MatchString(t)) && (len(numbers) == 0 || slices.Contains(numbers, p))
		}, nil
	}
	type rule struct {
		re       *regexp.Regexp
		from, to int64
	}
	var rules []rule
	for _, item := range chosen {
		name, span, has := strings.Cut(item, ":")
		re, err := pattern(name)
		if err != nil {
			return nil, fmt.Errorf("--topic-partitions: %w", err)
		}
		r := rule{re, 0, 1 << 31}
		if name == "" {
			r.re = regexp.MustCompile("")
		}
		if has && span != "" {
			from, to, isRange := strings.Cut(span, "-")
			var err1, err2 error
			if from != "" {
				r.from, err1 = strconv.ParseInt(from, 10, 32)
			}
			switch {
			case !isRange:
				r.to = r.from + 1
			case to != "":
				r.to, err2 = strconv.ParseInt(to, 10, 32) // not included, as in Kafka's tool
			}
			if err1 != nil || err2 != nil {
				return nil, fmt.Errorf("--topic-partitions: %q: want TOPIC:N or TOPIC:N-M", item)
			}
		}
		rules = append(rules, r)
	}
	return func(t string, p int32) bool {
		return slices.ContainsFunc(rules, func(r rule) bool { return r.re.MatchString(t) && int64(p) >= r.from && int64(p) < r.to })
	}, nil
}

// listOffsets asks for the offsets of partitions by timestamp; -1 is a partition without one.
func listOffsets(ctx context.Context, client *kgo.Client, ask map[string][]int32, at int64) (map[string]map[int32]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for _, topic := range sortedKeys(ask) {
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = topic
		for _, p := range ask[topic] {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p, at
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	out := map[string]map[int32]int64{}
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := failure(p.ErrorCode, nil); err != nil && !errors.Is(err, kerr.OffsetNotAvailable) {
					return nil, about(fmt.Sprintf("%s-%d", t.Topic, p.Partition), err)
				}
				if out[t.Topic] == nil {
					out[t.Topic] = map[int32]int64{}
				}
				out[t.Topic][p.Partition] = p.Offset
			}
		}
	}
	return out, nil
}
