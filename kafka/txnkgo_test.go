package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/partlog/partlog/partition"
)

// requestLog notes which APIs were called, and in which versions.
type requestLog struct {
	mu   sync.Mutex
	seen map[int16]map[int16]int
}

func (l *requestLog) intercept(c *Call, next func() Answer) Answer {
	l.mu.Lock()
	if l.seen == nil {
		l.seen = map[int16]map[int16]int{}
	}
	if l.seen[c.Key] == nil {
		l.seen[c.Key] = map[int16]int{}
	}
	l.seen[c.Key][c.Version]++
	l.mu.Unlock()
	return next()
}

// highest is the highest version in which an API was called, -1 if it was not.
func (l *requestLog) highest(key int16) int16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	highest := int16(-1)
	for v := range l.seen[key] {
		highest = max(highest, v)
	}
	return highest
}

// unhurried keeps a transaction open where the machine stands still.
var unhurried = kgo.TransactionTimeout(10 * time.Minute)

// eras are clients as they were when Kafka had these versions; the first goes by transaction.version 2.
var eras = map[string]*kversion.Versions{"now": kversion.Stable(), "3.9": kversion.V3_9_0(), "2.8": kversion.V2_8_0(), "1.0": kversion.V1_0_0()}

func TestKgoTransactionsOfEveryEra(t *testing.T) {
	for era, versions := range eras {
		t.Run(era, func(t *testing.T) {
			var seen requestLog
			_, store, addr := serveMemory(t, Config{Intercept: seen.intercept})
			_, err := store.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 2})
			require.NoError(t, err)
			ctx := t.Context()
			p := kgoClient(t, addr, kgo.TransactionalID("x"), unhurried, kgo.MaxVersions(versions), kgo.DefaultProduceTopic("orders"))
			want := map[string]bool{}
			for i := range 20 {
				require.NoError(t, p.BeginTransaction())
				commit := i%3 != 0
				for j := range 5 {
					v := fmt.Sprint(i, "-", j)
					require.NoError(t, p.ProduceSync(ctx, &kgo.Record{Key: []byte(v), Value: []byte(v)}).FirstErr())
					if commit {
						want[v] = true
					}
				}
				require.NoError(t, p.EndTransaction(ctx, kgo.TransactionEndTry(commit)))
			}
			require.Equal(t, era == "now", seen.highest(26) == 5, "EndTxn")
			require.Equal(t, era == "now", seen.highest(24) == -1, "AddPartitionsToTxn")
			c := kgoClient(t, addr, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			got := map[string]bool{}
			for len(got) < len(want) {
				fs := c.PollFetches(ctx)
				require.NoError(t, fs.Err())
				fs.EachRecord(func(r *kgo.Record) {
					require.True(t, want[string(r.Value)], string(r.Value))
					require.False(t, got[string(r.Value)])
					got[string(r.Value)] = true
				})
			}
		})
	}
}

func TestAKgoProducerIsFencedByItsSuccessor(t *testing.T) {
	for era, versions := range eras {
		t.Run(era, func(t *testing.T) {
			_, store, addr := serveMemory(t, Config{})
			_, err := store.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 1})
			require.NoError(t, err)
			ctx := t.Context()
			opts := []kgo.Opt{kgo.TransactionalID("x"), unhurried, kgo.MaxVersions(versions), kgo.DefaultProduceTopic("orders")}
			first := kgoClient(t, addr, opts...)
			require.NoError(t, first.BeginTransaction())
			require.NoError(t, first.ProduceSync(ctx, kgo.StringRecord("lost")).FirstErr())
			second := kgoClient(t, addr, opts...)
			require.NoError(t, second.BeginTransaction())
			require.NoError(t, second.ProduceSync(ctx, kgo.StringRecord("kept")).FirstErr())
			require.NoError(t, second.EndTransaction(ctx, kgo.TryCommit))
			err = first.EndTransaction(ctx, kgo.TryCommit)
			require.Error(t, err)
			c := kgoClient(t, addr, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			fs := c.PollFetches(ctx)
			require.NoError(t, fs.Err())
			require.Equal(t, 1, fs.NumRecords())
			require.Equal(t, "kept", string(fs.Records()[0].Value))
		})
	}
}

// Consume, transform, produce: each record once, although members come and go, and some transactions abort.
func TestGroupTransactSessionsAreExactlyOnceInEveryEra(t *testing.T) {
	for era, versions := range eras {
		if era == "1.0" {
			continue // has no KIP-447: offsets that are pending are not waited for
		}
		t.Run(era, func(t *testing.T) {
			var seen requestLog
			config := quick
			config.Intercept = seen.intercept
			_, store, addr := serveMemory(t, config)
			for _, name := range []string{"orders", "bills"} {
				_, err := store.CreateTopic(t.Context(), name, partition.TopicConfig{Partitions: 6})
				require.NoError(t, err)
			}
			p := kgoClient(t, addr)
			load(t, p, 0, 200)
			var wg sync.WaitGroup
			ctx, stop := context.WithCancel(t.Context())
			defer func() { stop(); wg.Wait() }()
			run := func(i int, rounds int) {
				s, err := kgo.NewGroupTransactSession(append(unshaken[:len(unshaken):len(unshaken)], kgo.SeedBrokers(addr), kgo.MaxVersions(versions), kgo.TransactionalID(fmt.Sprint("x", i)), unhurried,
					kgo.ConsumerGroup("g"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
					kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.HeartbeatInterval(20*time.Millisecond), kgo.FetchMaxWait(50*time.Millisecond), kgo.SessionTimeout(10*time.Minute), kgo.RebalanceTimeout(10*time.Minute))...)
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				for n := 0; (rounds == 0 || n < rounds) && ctx.Err() == nil; n++ {
					fs := s.PollRecords(ctx, 20)
					if err := s.Begin(); err != nil {
						t.Error(err)
						return
					}
					fs.EachRecord(func(r *kgo.Record) {
						s.Produce(ctx, &kgo.Record{Topic: "bills", Key: r.Key, Value: r.Value}, nil)
					})
					try := kgo.TryCommit
					if n%4 == 3 {
						try = kgo.TryAbort
					}
					if _, err := s.End(context.Background(), try); err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
						return
					}
				}
			}
			wg.Go(func() { run(1, 0) })
			wg.Go(func() { run(2, 6) }) // leaves
			wg.Go(func() {
				run(3, 4)
				run(4, 0) // another comes
			})
			got := map[string]int{}
			c := kgoClient(t, addr, kgo.ConsumeTopics("bills"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			read := func(n int) {
				for len(got) < n {
					fs := c.PollFetches(t.Context())
					require.NoError(t, fs.Err())
					fs.EachRecord(func(r *kgo.Record) { got[string(r.Value)]++ })
				}
			}
			read(200)
			load(t, p, 200, 400)
			read(400)
			stop()
			wg.Wait()
			// What comes after the end is aborted or is a second time: a marker's worth of waiting shows it.
			require.NoError(t, p.ProduceSync(t.Context(), &kgo.Record{Topic: "bills", Value: []byte("last")}).FirstErr())
			read(401)
			for v, n := range got {
				require.Equal(t, 1, n, v)
			}
			require.Equal(t, int64(400), committedSum(t, p))
			require.Equal(t, era == "now", seen.highest(25) == -1, "AddOffsetsToTxn")
			require.Equal(t, era == "now", seen.highest(28) == 5, "TxnOffsetCommit")
		})
	}
}

func TestToolsListDescribeAndAbortTransactions(t *testing.T) {
	_, store, addr := serveMemory(t, Config{})
	_, err := store.CreateTopic(t.Context(), "orders", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	ctx := t.Context()
	p := kgoClient(t, addr, kgo.TransactionalID("x"), unhurried, kgo.DefaultProduceTopic("orders"))
	require.NoError(t, p.BeginTransaction())
	require.NoError(t, p.ProduceSync(ctx, kgo.StringRecord("open")).FirstErr())
	tool := kgoClient(t, addr)
	list, err := kmsg.NewPtrListTransactionsRequest().RequestWith(ctx, tool)
	require.NoError(t, err)
	require.Len(t, list.TransactionStates, 1)
	require.Equal(t, "Ongoing", list.TransactionStates[0].TransactionState)
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"x"}
	d, err := describe.RequestWith(ctx, tool)
	require.NoError(t, err)
	require.Equal(t, "orders", d.TransactionStates[0].Topics[0].Topic)
	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "orders", Partitions: []int32{0}}}
	ps, err := producers.RequestWith(ctx, tool)
	require.NoError(t, err)
	require.Len(t, ps.Topics[0].Partitions[0].ActiveProducers, 1)
	one := ps.Topics[0].Partitions[0].ActiveProducers[0]
	require.Zero(t, one.CurrentTxnStartOffset)

	marker := kmsg.NewWriteTxnMarkersRequestMarker()
	marker.ProducerID, marker.ProducerEpoch, marker.CoordinatorEpoch = one.ProducerID, int16(one.ProducerEpoch), max(one.CoordinatorEpoch, 0)
	marker.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "orders", Partitions: []int32{0}}}
	write := kmsg.NewPtrWriteTxnMarkersRequest()
	write.Markers = append(write.Markers, marker)
	written, err := write.RequestWith(ctx, tool)
	require.NoError(t, err)
	require.Zero(t, written.Markers[0].Topics[0].Partitions[0].ErrorCode)
	require.NoError(t, p.EndTransaction(ctx, kgo.TryAbort))
}
