package partition_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// world is a store on a disk that crashes, beside the model that says what it has to hold.
type world struct {
	t     *rapid.T
	disk  *partitiontest.Disk
	clock *partitiontest.Clock
	store *partition.Store
	model *partitiontest.Model
	mode  partition.SyncMode
	n     int // records made so far: each value is another
}

func (w *world) open() {
	s, err := partition.Open("store", partition.Config{
		FS: w.disk, Clock: w.clock, Sync: w.mode,
		Topics: partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "2000"}, IndexIntervalBytes: 300},
	})
	require.NoError(w.t, err)
	w.store = s
}

func (w *world) batch() []byte {
	var rs []partitiontest.Record
	for range rapid.IntRange(1, 4).Draw(w.t, "records") {
		w.n++
		rs = append(rs, partitiontest.Record{Timestamp: w.clock.Now().UnixMilli(), Key: fmt.Appendf(nil, "k%d", w.n%3), Value: fmt.Appendf(nil, "value-%d", w.n)})
	}
	return partitiontest.Batch(rs...)
}

func (w *world) somePartition() (partition.TopicPartition, bool) {
	topics := w.model.Topics()
	if len(topics) == 0 {
		return partition.TopicPartition{}, false
	}
	name := rapid.SampledFrom(topics).Draw(w.t, "topic")
	return partition.TopicPartition{Topic: name, Partition: rapid.Int32Range(0, w.model.Partitions(name)-1).Draw(w.t, "partition")}, true
}

// append adds a batch; whether it must survive a power loss depends on the mode and the acks.
func (w *world) append(powerLossAhead bool) {
	tp, ok := w.somePartition()
	if !ok {
		return
	}
	acks := rapid.SampledFrom([]partition.Acks{partition.AcksAll, partition.AcksLeader, partition.AcksNone}).Draw(w.t, "acks")
	b := w.batch()
	sent := append([]byte(nil), b...)
	r, err := w.store.Append(context.Background(), partition.AppendRequest{TopicPartition: tp, Batch: b, Acks: acks})
	require.NoError(w.t, err)
	durable := w.mode == partition.SyncAlways && acks == partition.AcksAll
	require.NoError(w.t, w.model.Appended(tp, sent, r.BaseOffset, durable || !powerLossAhead))
}

func (w *world) create() {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(w.t, "name")
	topic, err := w.store.CreateTopic(context.Background(), name, partition.TopicConfig{Partitions: rapid.Int32Range(1, 3).Draw(w.t, "n")})
	if w.model.Partitions(name) > 0 {
		require.ErrorIs(w.t, err, partition.ErrTopicAlreadyExists)
		return
	}
	require.NoError(w.t, err)
	w.model.Created(name, topic.ID(), topic.Partitions())
}

func (w *world) changeTopics() {
	tp, ok := w.somePartition()
	if !ok {
		return
	}
	switch rapid.IntRange(0, 3).Draw(w.t, "change") {
	case 0:
		require.NoError(w.t, w.store.DeleteTopic(context.Background(), tp.Topic))
		w.model.Deleted(tp.Topic)
	case 1:
		n := w.model.Partitions(tp.Topic) + 1
		require.NoError(w.t, w.store.CreatePartitions(context.Background(), tp.Topic, n))
		w.model.Created(tp.Topic, partition.TopicID{}, n)
	case 2:
		hw, err := w.store.ListOffsets(context.Background(), tp, partition.TimestampLatest)
		require.NoError(w.t, err)
		before := partition.Offset(rapid.Int64Range(0, int64(hw)).Draw(w.t, "before"))
		_, err = w.store.DeleteRecords(context.Background(), tp, before)
		require.NoError(w.t, err)
		require.NoError(w.t, w.model.RecordsDeleted(tp, before))
	case 3:
		require.NoError(w.t, w.store.AlterTopicConfig(context.Background(), tp.Topic, map[string]string{"max.message.bytes": "100000"}))
	}
}

// A store does what a few slices do, through closes, kills and retention checks at any moment.
func TestStoreIsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, disk: partitiontest.NewDisk(), clock: partitiontest.NewClock(time.Unix(1_700_000_000, 0)), model: partitiontest.NewModel()}
		w.mode = rapid.SampledFrom([]partition.SyncMode{partition.SyncAlways, partition.SyncNever, partition.SyncInterval(50 * time.Millisecond)}).Draw(t, "mode")
		w.open()
		defer func() { w.store.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append":  func(t *rapid.T) { w.t = t; w.append(false) },
			"append2": func(t *rapid.T) { w.t = t; w.append(false) },
			"create":  func(t *rapid.T) { w.t = t; w.create() },
			"change":  func(t *rapid.T) { w.t = t; w.changeTopics() },
			"time": func(t *rapid.T) {
				w.clock.Advance(time.Duration(rapid.IntRange(1, 600).Draw(t, "seconds")) * time.Second)
			},
			"close": func(t *rapid.T) {
				w.t = t
				require.NoError(t, w.store.Close())
				w.open()
				require.Nil(t, w.store.RecoveryReport())
			},
			"kill": func(t *rapid.T) {
				w.t = t
				old := w.store
				w.disk = w.disk.Kill()
				w.open()
				_ = old.Close()
			},
			"": func(t *rapid.T) { require.NoError(t, w.model.Check(w.store)) },
		})
	})
}

// After a power loss at any moment everything that was acknowledged with SyncAlways and acks=all is there, once and in
// order, and every change of topics that returned.
func TestStoreKeepsWhatItAcknowledgedThroughPowerLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, disk: partitiontest.NewDisk(), clock: partitiontest.NewClock(time.Unix(1_700_000_000, 0)), model: partitiontest.NewModel(), mode: partition.SyncAlways}
		if rapid.Bool().Draw(t, "ext4") {
			w.disk = partitiontest.NewExt4()
		}
		w.open()
		for range rapid.IntRange(1, 4).Draw(t, "crashes") {
			for range rapid.IntRange(0, 12).Draw(t, "steps") {
				switch rapid.IntRange(0, 7).Draw(t, "step") {
				case 0, 1:
					w.create()
				case 2:
					w.changeTopics()
				case 3:
					w.clock.Advance(time.Second)
				case 4:
					if rapid.Bool().Draw(t, "close") {
						require.NoError(t, w.store.Close())
						w.open()
					}
				default:
					w.append(true)
				}
			}
			after := w.disk.Crash(rapid.Uint64().Draw(t, "seed"))
			_ = w.store.Close()
			w.disk = after
			w.open()
			require.NoError(t, w.model.CheckAfterCrash(w.store))
			require.NoError(t, w.model.Settle(w.store))
			require.NoError(t, w.model.Check(w.store))
		}
		require.NoError(t, w.store.Close())
	})
}

// Whatever operation of the disk fails, calls return errors, acknowledged records stay, and after a reopen on a healthy
// disk the store is whole.
func TestStoreSurvivesAnyFailingOperation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, disk: partitiontest.NewDisk(), clock: partitiontest.NewClock(time.Unix(1_700_000_000, 0)), model: partitiontest.NewModel(), mode: partition.SyncAlways}
		w.open()
		w.create()
		w.append(true)
		kind := rapid.SampledFrom([]partitiontest.OpKind{partitiontest.OpWrite, partitiontest.OpSync, partitiontest.OpSyncDir, partitiontest.OpRename}).Draw(t, "kind")
		rule := w.disk.Fail(partitiontest.Rule{Op: kind, Nth: rapid.IntRange(1, 12).Draw(t, "nth"), Forever: rapid.Bool().Draw(t, "forever"), Lose: rapid.Bool().Draw(t, "lose")})
		ctx := context.Background()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "append") {
				tp, ok := w.somePartition()
				if !ok {
					continue
				}
				b := w.batch()
				sent := append([]byte(nil), b...)
				r, err := w.store.Append(ctx, partition.AppendRequest{TopicPartition: tp, Batch: b})
				if err != nil {
					require.NoError(t, w.model.Failed(tp, sent))
				} else {
					require.NoError(t, w.model.Appended(tp, sent, r.BaseOffset, true))
				}
				continue
			}
			name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")
			topic, err := w.store.CreateTopic(ctx, name, partition.TopicConfig{})
			switch {
			case err == nil:
				w.model.Created(name, topic.ID(), 1)
			case !errors.Is(err, partition.ErrTopicAlreadyExists):
				w.model.Doubtful(name)
			}
		}
		rule.Lift()
		w.disk.Clear()
		after := w.disk.Crash(rapid.Uint64().Draw(t, "seed"))
		_ = w.store.Close()
		w.disk = after
		w.open()
		require.NoError(t, w.model.CheckAfterCrash(w.store))
		require.NoError(t, w.store.Close())
	})
}
