package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

// What differs from run to run.
var changing = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`TopicId: \S+`), "TopicId: ID"},
	{regexp.MustCompile(`127\.0\.0\.1:\d{4,5}( \(\d\))?`), "HOST:PORT"},
	{regexp.MustCompile(`(Create|Append)Time: ?\d{13}`), "${1}Time:T"},
	{regexp.MustCompile(`"timestamp":\d+`), `"timestamp":T`},
	{regexp.MustCompile(`crc: \d+`), "crc: C"},
}

// A story is commands one after the other, on a cluster of its own. The lines below a command are its arguments; below a line
// with < alone, what it reads.
func TestCommandsDoAndPrintWhatKafkasDo(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		c := kafkatest.New(t, kafkatest.Brokers(2), kafkatest.Topic("a", 1))
		dir := t.TempDir()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "file" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, d.CmdArgs[0].Key), []byte(d.Input+"\n"), 0o600))
				return ""
			}
			head, stdin, hasInput := strings.Cut("\n"+d.Input, "\n<\n")
			var args []string
			for line := range strings.SplitSeq(head, "\n") {
				if line != "" {
					args = append(args, strings.ReplaceAll(line, "DIR", dir))
				}
			}
			if hasInput {
				stdin += "\n"
			}
			out, errs, err := run(t, d.Cmd, stdin, append(args, "--bootstrap-server", c.Bootstrap())...)
			if errs != "" {
				out += "stderr: " + strings.TrimSpace(errs) + "\n"
			}
			if err != nil {
				kind := "error"
				if _, ok := errors.AsType[*UsageError](err); ok {
					kind = "usage"
				}
				out += kind + ": " + err.Error() + "\n"
			}
			for _, x := range changing {
				out = x.re.ReplaceAllString(out, x.with)
			}
			return out
		})
	})
}

func TestAGroupWithMembersIsDescribed(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("a", 2))
	_, err := c.Produce(t.Context(), "a", 0, kafkatest.Record{Value: []byte("1")}, kafkatest.Record{Value: []byte("2")})
	require.NoError(t, err)
	member, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("a"), kgo.ClientID("me"),
		kgo.InstanceID("static-1"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer member.Close()
	fs := member.PollRecords(t.Context(), 1)
	require.Equal(t, 1, fs.NumRecords())
	require.NoError(t, member.CommitRecords(t.Context(), fs.Records()...))

	out, _, err := run(t, "groups", "", "--describe", "--group", "g", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	require.Regexp(t, `(?m)^g +a +0 +1 +2 +1 +static-1-\S+ +/?127\.0\.0\.1 +me$`, out)
	require.Regexp(t, `(?m)^g +a +1 +- +0 +- +static-1-`, out)
	out, _, err = run(t, "groups", "", "--describe", "--group", "g", "--members", "--verbose", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	require.Regexp(t, `(?m)^g +static-1-\S+ +static-1 +/?127\.0\.0\.1 +me +2 +a\(0,1\)$`, out)
	out, _, err = run(t, "groups", "", "--describe", "--group", "g", "--state", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	require.Regexp(t, `(?m)^g +127\.0\.0\.1:\d+ \(1\) +\S+ +Stable +1$`, out)

	_, _, err = run(t, "groups", "", "--reset-offsets", "--group", "g", "--topic", "a", "--to-earliest", "--execute", "--bootstrap-server", c.Bootstrap())
	require.ErrorContains(t, err, "the current state is Stable")
	_, _, err = run(t, "groups", "", "--delete", "--group", "g", "--bootstrap-server", c.Bootstrap())
	require.ErrorContains(t, err, "NON_EMPTY_GROUP")
}

// What a member of a group has printed is committed, and nothing more.
func TestConsumeCommitsWhatItHasPrinted(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("a", 1))
	for _, v := range []string{"1", "2", "3"} {
		_, err := c.Produce(t.Context(), "a", 0, kafkatest.Record{Value: []byte(v)})
		require.NoError(t, err)
	}
	for _, x := range []struct{ most, want string }{{"2", "1\n2\n"}, {"1", "3\n"}} {
		out, _, err := run(t, "consume", "", "--topic", "a", "--group", "g", "--from-beginning", "--max-messages", x.most, "--bootstrap-server", c.Bootstrap())
		require.NoError(t, err)
		require.Equal(t, x.want, out)
	}
}

// An interrupt ends consume in good order.
func TestConsumeEndsWithItsContext(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("a", 1))
	ctx, cancel := context.WithCancel(t.Context())
	seen := c.Inject(kafkatest.Rule{API: "Fetch"})
	var errs bytes.Buffer
	done := make(chan error)
	go func() {
		done <- consume(ctx, []string{"--topic", "a", "--group", "g", "--bootstrap-server", c.Bootstrap()}, Streams{Out: new(bytes.Buffer), Err: &errs})
	}()
	require.NoError(t, seen.Wait(t.Context(), 1))
	cancel()
	require.NoError(t, <-done)
	require.Equal(t, "Processed a total of 0 messages\n", errs.String())
}

// JSON keeps every byte: what consume prints, produce sends.
func TestJSONKeepsEveryByte(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("a", 2), kafkatest.Topic("b", 2))
	records := []kafkatest.Record{
		{Key: []byte("k"), Value: []byte("v"), Timestamp: 1000, Headers: []kafkatest.Header{{Key: "h", Value: []byte("x")}, {Key: "h", Value: nil}}},
		{Key: nil, Value: []byte{0xff, 0, 1}, Timestamp: 2000},
		{Key: []byte{0xfe}, Value: nil, Timestamp: 3000},
		{Key: []byte(""), Value: []byte("line\nbreak \" € "), Timestamp: 4000},
	}
	_, err := c.Produce(t.Context(), "a", 1, records...)
	require.NoError(t, err)
	out, _, err := run(t, "consume", "", "--topic", "a", "--from-beginning", "--max-messages", "4", "--json", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	_, _, err = run(t, "produce", out, "--topic", "b", "--json", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	want, err := c.Records("a", 1)
	require.NoError(t, err)
	got, err := c.Records("b", 1)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// Damage on a broker's disk is found over the wire.
func TestVerifyFindsWhatABrokerSendsDamaged(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("a", 1))
	for range 3 {
		_, err := c.Produce(t.Context(), "a", 0, kafkatest.Record{Value: bytes.Repeat([]byte("x"), 100)})
		require.NoError(t, err)
	}
	out, _, err := run(t, "verify", "", "--topic", "a", "--json", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	var r brokerReport
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Equal(t, int64(3), r.Records)
	require.False(t, r.Damaged)

	client, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
	require.NoError(t, err)
	defer client.Close()
	topics, err := metadata(t.Context(), client)
	require.NoError(t, err)
	damaged := partitionReport{Start: -1}
	require.NoError(t, walk(t.Context(), client, &topics[0], topics[0].Partitions[0], func(b batch.Batch, _ int64) error {
		b[80]++ // on the way
		damaged.check(b)
		return nil
	}))
	require.Len(t, damaged.Damage, 3)
}

func TestVerifyOfAStoreIsItsReport(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	store, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "a", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	out, _, err := run(t, "verify", "", dir) // while it is open
	require.NoError(t, err)
	require.Contains(t, out, "1 topics, 2 partitions, 0 batches, 0 records, 0 bytes: no damage")
	require.NoError(t, store.Close())

	kafkas := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(kafkas, "meta.properties"), nil, 0o600))
	_, _, err = run(t, "verify", "", kafkas)
	require.ErrorContains(t, err, "partlogd dump")
}

func TestPerfPrintsTheFiguresOfKafkasTools(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("a", 2), kafkatest.Topic("e", 1))
	out, _, err := run(t, "perf", "", "produce", "--topic", "a", "--num-records", "500", "--record-size", "100", "--throughput", "-1",
		"--bootstrap-server", c.Bootstrap(), "--producer-props", "acks=all", "linger.ms=0")
	require.NoError(t, err)
	require.Regexp(t, `^500 records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), [\d.]+ ms avg latency, [\d.]+ ms max latency, \d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\.\n$`, out)
	out, _, err = run(t, "perf", "", "consume", "--topic", "a", "--messages", "500", "--timeout", "600000", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	require.Regexp(t, `^start\.time, end\.time, data\.consumed\.in\.MB, MB\.sec, data\.consumed\.in\.nMsg, nMsg\.sec, rebalance\.time\.ms, fetch\.time\.ms, fetch\.MB\.sec, fetch\.nMsg\.sec\n`+
		`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}, 0\.0477, [\d.]+, 500, [\d.]+, \d+, \d+, [\d.]+, [\d.]+\n$`, out)
	out, _, err = run(t, "perf", "", "e2e", "--topic", "e", "--num-records", "20", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	require.Regexp(t, `(?s)Avg latency: [\d.]+ ms\nPercentiles: 50th = [\d.]+, 99th = [\d.]+, 99\.9th = [\d.]+\n$`, out)
	out, _, err = run(t, "perf", "", "produce", "--topic", "e", "--num-records", "50", "--record-size", "10", "--transactional-id", "t", "--bootstrap-server", c.Bootstrap())
	require.NoError(t, err)
	require.Contains(t, out, "50 records sent")
}

func TestEveryCommandHasHelpThatNamesItsFlags(t *testing.T) {
	for _, c := range Commands() {
		var out bytes.Buffer
		require.ErrorIs(t, c.Run(t.Context(), []string{"--help"}, Streams{Out: &out, Err: &out}), flag.ErrHelp)
		require.Contains(t, out.String(), "Usage: partlogd "+c.Name)
		require.Contains(t, out.String(), "--bootstrap-server")
		for line := range strings.SplitSeq(out.String(), "\n") {
			require.LessOrEqual(t, len(line), 130, line)
		}
	}
}
