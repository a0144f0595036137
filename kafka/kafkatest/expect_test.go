package kafkatest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

func TestAssertionsWaitForWhatAnotherGoroutineDoes(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 2))
	done := make(chan error, 1)
	go func() {
		for i := range 5 {
			if _, err := c.Produce(context.Background(), "orders", int32(i%2), kafkatest.Record{Value: fmt.Append(nil, i)}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	require.Len(t, is(t, c).Records("orders", 5), 5)
	require.NoError(t, <-done)
}

func TestWaitingEndsWithTheContextAndSaysHowThingsStand(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	_, err := c.Produce(t.Context(), "orders", 0, kafkatest.Record{Value: []byte("a")})
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.WaitRecords(ended, "orders", 2)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, `topic "orders" has 1 of 2 records`)
	_, err = c.WaitRecords(ended, "none", 1)
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)
	require.ErrorIs(t, c.WaitStable(ended, "billing", 1), context.Canceled)
	require.ErrorIs(t, c.WaitLagZero(ended, "billing", "orders"), context.Canceled)
	_, err = c.WaitRequests(ended, kafkatest.CallFilter{API: "Produce"}, 1)
	require.ErrorIs(t, err, context.Canceled)
	_, err = c.Requests(kafkatest.CallFilter{API: "Nonsense"})
	require.ErrorContains(t, err, "Nonsense")
	require.NoError(t, c.WaitStable(bound(t), "billing", 0), "a group that is not there has no members")
}

func happened(what string) func(kafkatest.GroupEvent) bool {
	return func(e kafkatest.GroupEvent) bool { return strings.Contains(e.What, what) }
}

func TestAGroupIsStableAndItsLagZeroWhenItsMembersHaveCommitted(t *testing.T) {
	for _, proto := range []string{"classic", "consumer"} {
		t.Run(proto, func(t *testing.T) {
			c := kafkatest.New(t, kafkatest.Topic("orders", 2), kafkatest.AutoCreate(false))
			is := is(t, c)
			ctx := bound(t)
			if proto == "consumer" {
				ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //lint:ignore SA1029 so franz-go asks for it
			}
			opts := []kgo.Opt{kgo.ConsumerGroup("billing"), kgo.DisableAutoCommit(), kgo.WithContext(ctx), kgo.ClientID("biller")}
			k := reader(t, c, "orders", opts...)
			is.Stable("billing", 1)
			var sent []kafkatest.Record
			for i := range 6 {
				r := kafkatest.Record{Key: fmt.Append(nil, i%3), Value: fmt.Append(nil, i)}
				sent = append(sent, r)
				_, err := c.Produce(ctx, "orders", int32(i%3%2), r)
				require.NoError(t, err)
			}
			consume(t, k, 6)
			lag, err := c.Lag(ctx, "billing")
			require.NoError(t, err)
			require.Equal(t, map[partition.TopicPartition]int{{Topic: "orders"}: 4, {Topic: "orders", Partition: 1}: 2}, lag)
			require.NoError(t, k.CommitUncommittedOffsets(ctx))
			is.LagZero("billing")
			is.Delivered("orders", sent)
			is.Committed("billing", map[partition.TopicPartition]partition.Offset{{Topic: "orders"}: 4, {Topic: "orders", Partition: 1}: 2})
			require.Error(t, c.CheckCommitted(ctx, "billing", map[partition.TopicPartition]partition.Offset{{Topic: "orders"}: 4}), "one more than wanted")
			commits := is.Requested(kafkatest.CallFilter{API: "OffsetCommit", ClientID: "bill*"}, 1)
			require.Equal(t, "biller", commits[0].ClientID)
			k.LeaveGroup()
			is.Stable("billing", 0)
			if proto == "classic" {
				_, err = c.WaitGroupEvent(ctx, "billing", happened("generation 1 of 1 members"))
				require.NoError(t, err)
				_, err = c.WaitGroupEvent(ctx, "billing", happened("is gone"))
				require.NoError(t, err)
				require.Empty(t, c.GroupHistory("other"))
			}
		})
	}
}

func TestRequestsAreFoundByWhatTheyWereAnswered(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	c.Inject(kafkatest.Rule{API: "Produce", Times: 1, Error: kerr.InvalidRecord.Code})
	k := client(t, c, kgo.ClientID("web"))
	require.ErrorIs(t, send(t, k, "orders", 0, "bad"), kerr.InvalidRecord)
	require.NoError(t, send(t, k, "orders", 0, "good"))
	is := is(t, c)
	is.Requested(kafkatest.CallFilter{API: "Produce"}, 2)
	failed := is.Requested(kafkatest.CallFilter{API: "0", Error: kerr.InvalidRecord.Code}, 1)
	require.Len(t, failed, 1)
	require.Equal(t, []string{"error INVALID_RECORD"}, failed[0].Rules)
	none, err := c.Requests(kafkatest.CallFilter{API: "Produce", ClientID: "app"})
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestTheHostsOwnGroupEventsAreCalledToo(t *testing.T) {
	assigned := make(chan group.AssignedInfo, 16)
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.Server(kafka.Config{GroupEvents: group.Events{Assigned: func(i group.AssignedInfo) {
		select {
		case assigned <- i:
		default:
		}
	}}}))
	reader(t, c, "orders", kgo.ConsumerGroup("billing"))
	is(t, c).Stable("billing", 1)
	require.Equal(t, "billing", (<-assigned).Group)
}

// recorder is a test that fails without ending this one.
type recorder struct {
	testing.TB
	failed  bool
	said    strings.Builder
	cleanup []func()
}

func (r *recorder) Helper()                        {}
func (r *recorder) Failed() bool                   { return r.failed }
func (r *recorder) Cleanup(f func())               { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Logf(format string, a ...any)   { fmt.Fprintf(&r.said, format, a...) }
func (r *recorder) Errorf(format string, a ...any) { r.failed = true; r.Logf(format, a...) }
func (r *recorder) Fatalf(format string, a ...any) { r.Errorf(format, a...); panic(errEnded) }
func (r *recorder) end() {
	for i := len(r.cleanup) - 1; i >= 0; i-- {
		r.cleanup[i]()
	}
}

var errEnded = errors.New("the test has ended")

func TestAFailedTestHasTheTranscriptInItsLog(t *testing.T) {
	for _, fails := range []bool{true, false} {
		r := &recorder{TB: t}
		c := kafkatest.New(r, kafkatest.Topic("orders", 1))
		c.Inject(kafkatest.Rule{API: "Produce", Name: "one bad record", Times: 1, Error: kerr.InvalidRecord.Code})
		k := reader(t, c, "orders", kgo.ClientID("web"), kgo.ConsumerGroup("billing"))
		require.ErrorIs(t, send(t, k, "orders", 0, "a secret"), kerr.InvalidRecord)
		require.NoError(t, send(t, k, "orders", 0, "a secret"))
		is(t, c).Stable("billing", 1)
		_, err := c.WaitGroupEvent(bound(t), "billing", happened("generation 1 of 1 members"))
		require.NoError(t, err)
		if fails {
			require.PanicsWithValue(t, errEnded, func() {
				c.Assert(r).Committed("billing", map[partition.TopicPartition]partition.Offset{{Topic: "orders"}: 5})
			})
		}
		k.Close()
		r.end()
		said := r.said.String()
		if !fails {
			require.Empty(t, said)
			continue
		}
		require.Contains(t, said, `has committed map[], not map`)
		require.Regexp(t, `client "web": Produce v\d+ .*INVALID_RECORD.*\[rules: one bad record\]`, said)
		require.Regexp(t, `client "web": JoinGroup v\d+ .*Group="billing"`, said)
		require.Contains(t, said, `group "billing": generation 1 of 1 members`)
		require.NotContains(t, said, "a secret")
	}
}
