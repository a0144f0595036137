package producer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// metricsRig is a producer on a store of the topics "t" and "u", and what stands between them.
type metricsRig struct {
	*producer.Producer
	*script
	clock *clock.Manual
}

// send sends n records of 100 bytes one by one.
func (r metricsRig) send(t *testing.T, n int) {
	for range n {
		_, err := r.Send(t.Context(), value(strings.Repeat("x", 100)))
		require.NoError(t, err)
	}
}

// passing runs f while time passes.
func (r metricsRig) passing(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		select {
		case <-done:
			return
		default:
			r.clock.Advance(1)
		}
	}
}

// What users of Kafka watch has its figure here, and the figure moves with what it counts; the other topic's does not.
func TestEveryMetricOfAProducerMovesWithWhatItCounts(t *testing.T) {
	var one uint64 // bytes of a batch of one record of 100 bytes
	sends := func(n int) func(*testing.T, metricsRig) {
		return func(t *testing.T, r metricsRig) { r.send(t, n) }
	}
	fails := func(err error) func(*testing.T, metricsRig) {
		return func(t *testing.T, r metricsRig) {
			failed := false
			r.before = func(int, partition.AppendRequest) error {
				if failed {
					return nil
				}
				failed = true
				return err
			}
			var got error
			r.passing(func() { _, got = r.Send(t.Context(), value("x")) })
			if partition.Retriable(err) {
				require.NoError(t, got)
			} else {
				require.ErrorIs(t, got, err)
			}
		}
	}
	takes := func(d time.Duration) func(*testing.T, metricsRig) { // each append takes so long
		return func(t *testing.T, r metricsRig) {
			r.before = func(int, partition.AppendRequest) error {
				r.clock.Advance(d)
				return nil
			}
			r.send(t, 2)
		}
	}
	waits := func(t *testing.T, r metricsRig) { // in its batch, behind an append
		g := newGate()
		r.before = func(n int, _ partition.AppendRequest) error {
			if n == 3 {
				g.hold()
			}
			return nil
		}
		r.SendAsync(t.Context(), value("x"), nil)
		<-g.come
		r.SendAsync(t.Context(), value("y"), nil)
		r.clock.Advance(3 * time.Millisecond)
		close(g.open)
		require.NoError(t, r.Flush(t.Context()))
	}
	full := func(t *testing.T, r metricsRig) { // the second finds no room, and waits in vain
		g := newGate()
		r.before = func(int, partition.AppendRequest) error {
			g.hold()
			return nil
		}
		big := value(strings.Repeat("x", 60_000))
		r.SendAsync(t.Context(), big, nil)
		<-g.come
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, err := r.Send(context.Background(), big)
			var exhausted *producer.BufferExhaustedError
			require.ErrorAs(t, err, &exhausted)
		}()
		waitFor(t, func() bool { return r.Stats().Buffer.Waiting == 1 })
		require.Positive(t, r.Stats().Buffer.Used)
		r.clock.Advance(time.Second)
		<-ended
		close(g.open)
		require.NoError(t, r.Flush(t.Context()))
	}
	refused := func(t *testing.T, r metricsRig) {
		_, err := r.Send(t.Context(), value(strings.Repeat("x", 2<<20)))
		require.ErrorIs(t, err, partition.ErrMessageTooLarge)
	}
	splits := func(t *testing.T, r metricsRig) { // two records in one batch, behind one that is being appended
		g := newGate()
		r.before = func(n int, a partition.AppendRequest) error {
			switch n {
			case 3:
				g.hold()
			case 4:
				return partition.ErrMessageTooLarge
			}
			return nil
		}
		r.SendAsync(t.Context(), value("first"), nil)
		<-g.come
		r.SendAsync(t.Context(), value("x"), nil)
		r.SendAsync(t.Context(), value("y"), nil)
		close(g.open)
		require.NoError(t, r.Flush(t.Context()))
	}
	late := func(t *testing.T, r metricsRig) {
		r.before = func(int, partition.AppendRequest) error {
			r.clock.Advance(time.Minute)
			return partition.ErrTimeout
		}
		_, err := r.Send(t.Context(), value("x"))
		var timeout *producer.DeliveryTimeoutError
		require.ErrorAs(t, err, &timeout)
	}
	panics := func(t *testing.T, r metricsRig) {
		r.SendAsync(t.Context(), value("x"), func(producer.Result) { panic("boom") })
		require.NoError(t, r.Flush(t.Context()))
	}
	const some = 1 << 60 // more than before
	for _, v := range []struct {
		metric string
		figure func(producer.Stats) uint64
		action func(*testing.T, metricsRig)
		by     uint64 // 0 is the bytes of three batches
	}{
		{"record-send-total", func(st producer.Stats) uint64 { return st.Records }, sends(3), 3},
		{"outgoing-byte-total", func(st producer.Stats) uint64 { return st.Bytes }, sends(3), 0},
		{"batch-size: count", func(st producer.Stats) uint64 { return st.BatchBytes.Count }, sends(3), 3},
		{"batch-size: sum", func(st producer.Stats) uint64 { return st.BatchBytes.Sum }, sends(3), 0},
		{"records per batch", func(st producer.Stats) uint64 { return st.BatchRecords.Sum }, sends(3), 3},
		{"batches", func(st producer.Stats) uint64 { return st.Batches }, sends(3), 3},
		{"request-total", func(st producer.Stats) uint64 { return st.Appends }, sends(3), 3},
		{"request-latency", func(st producer.Stats) uint64 { return st.AppendLatency.Sum }, takes(4 * time.Millisecond), uint64(8 * time.Millisecond)},
		{"request-latency-max", func(st producer.Stats) uint64 { return st.AppendLatency.Max }, takes(4 * time.Millisecond), uint64(4 * time.Millisecond)},
		{"send latency, end to end", func(st producer.Stats) uint64 { return st.SendLatency.Sum }, takes(4 * time.Millisecond), uint64(8 * time.Millisecond)},
		{"record-queue-time", func(st producer.Stats) uint64 { return st.QueueTime.Sum }, waits, uint64(3 * time.Millisecond)},
		{"record-error-total", func(st producer.Stats) uint64 { return st.Failed }, fails(partition.ErrNoSpace), 1},
		{"errors by type", func(st producer.Stats) uint64 { return st.Errors["NO_SPACE"] }, fails(partition.ErrNoSpace), 1},
		{"errors by type: retried", func(st producer.Stats) uint64 { return st.Errors["REQUEST_TIMED_OUT"] }, fails(partition.ErrTimeout), 1},
		{"refused records by type", func(st producer.Stats) uint64 { return st.Refused["MESSAGE_TOO_LARGE"] }, refused, 1},
		{"record-retry-total", func(st producer.Stats) uint64 { return st.Retries }, fails(partition.ErrTimeout), 1},
		{"batch-split-total", func(st producer.Stats) uint64 { return st.Splits }, splits, 1},
		{"timeouts", func(st producer.Stats) uint64 { return st.Timeouts }, late, 1},
		{"epoch bumps", func(st producer.Stats) uint64 { return st.EpochBumps }, func(t *testing.T, r metricsRig) {
			fails(partition.ErrNoSpace)(t, r)
			r.send(t, 1)
		}, 1},
		{"buffer-total-bytes", func(st producer.Stats) uint64 { return uint64(st.Buffer.Size - st.Buffer.Used) }, sends(1), 0},
		{"buffer-exhausted-total", func(st producer.Stats) uint64 { return st.Buffer.Exhausted }, full, 1},
		{"bufferpool-wait-time", func(st producer.Stats) uint64 { return uint64(st.Buffer.WaitTime) }, full, uint64(time.Second)},
		{"compression: after", func(st producer.Stats) uint64 { return st.Topics["t"].Bytes }, sends(3), 0},
		{"compression: before", func(st producer.Stats) uint64 { return st.Uncompressed }, sends(3), some},
		{"panics", func(st producer.Stats) uint64 { return st.Panics }, panics, 1},
		{"records by topic", func(st producer.Stats) uint64 { return st.Topics["t"].Records }, sends(3), 3},
	} {
		t.Run(v.metric, func(t *testing.T) {
			store := memory(t)
			create(t, store, "t", 1)
			create(t, store, "u", 1)
			r := metricsRig{script: &script{Backend: store}, clock: clock.NewManual(time.Unix(1e9, 0))}
			var err error
			r.Producer, err = producer.New(r.script, producer.Config{
				Clock: r.clock, Compression: partition.CodecLZ4, BufferMemory: 100_000, MaxBlock: time.Second,
				DeliveryTimeout: time.Minute, RetryBackoff: 1, RetryBackoffMax: 1,
			})
			require.NoError(t, err)
			r.send(t, 1)
			before := r.Stats()
			one = before.Bytes
			_, err = r.Send(t.Context(), producer.Record{Topic: "u", Value: []byte("y")})
			require.NoError(t, err)
			before = r.Stats()
			v.action(t, r)
			r.before = nil
			after := r.Stats()
			switch moved := v.figure(after) - v.figure(before); {
			case v.by == some:
				require.Greater(t, moved, 3*one)
			case v.by == 0 && v.metric != "buffer-total-bytes":
				require.Equal(t, 3*one, moved)
			default:
				require.Equal(t, v.by, moved)
			}
			require.Equal(t, before.Topics["u"], after.Topics["u"], "nothing was sent to it")
			_ = r.Close()
		})
	}
}
