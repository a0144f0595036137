package partition

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
)

// A partition is a list: an append adds a value at the end, if it expects nothing or its key's last record is the expected one, and a
// read at an offset gives what is there, or that nothing is there yet. What clients see at once must be explainable as one after the other.
type (
	listInput struct {
		append bool
		value  string
		key    string
		expect *Offset
		offset Offset // of a read
	}
	listOutput struct {
		offset Offset // of an append; −1 for a conflict
		actual Offset // of a conflict
		value  string // of a read; "" is nothing yet
	}
	listEntry struct{ key, value string }
)

func lastOf(list []listEntry, key string) Offset {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].key == key {
			return Offset(i)
		}
	}
	return NoRecord
}

var listModel = porcupine.Model{
	Init: func() any { return []listEntry(nil) },
	Step: func(state, input, output any) (bool, any) {
		list, in, out := state.([]listEntry), input.(listInput), output.(listOutput)
		switch {
		case !in.append && in.offset < Offset(len(list)):
			return out.value == list[in.offset].value, list
		case !in.append:
			return out.value == "", list
		case in.expect != nil && lastOf(list, in.key) != *in.expect:
			return out.offset == -1 && out.actual == lastOf(list, in.key), list
		}
		return out.offset == Offset(len(list)), append(slices.Clip(list), listEntry{in.key, in.value})
	},
	Equal:             func(a, b any) bool { return slices.Equal(a.([]listEntry), b.([]listEntry)) },
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// PARTLOG_SOAK=duration goes on for that long.
func TestAppendsAndReadsOfAPartitionAreLinearizable(t *testing.T) {
	histories, operations, undecided := 0, 0, 0
	limit, began := soakTime(t), time.Now()
	for seed := uint64(0); seed < 30 || time.Since(began) < limit; seed++ {
		for _, mode := range []SyncMode{SyncAlways, SyncNever} {
			n, decided := checkHistory(t, seed, mode)
			if !decided {
				undecided++
				continue
			}
			histories++
			operations += n
		}
	}
	t.Logf("histories: %d linearizable, %d operations; %d undecided", histories, operations, undecided)
	require.Positive(t, histories)
}

// checkHistory fails if a history is not linearizable. One whose operations overlap too much to be searched, as they do where
// clients are stopped in the middle of them for long, is not decided.
func checkHistory(t *testing.T, seed uint64, mode SyncMode) (operations int, decided bool) {
	s := memory(t, Config{Sync: mode})
	_, err := s.CreateTopic(t.Context(), "t", TopicConfig{KeyIndex: true, Extra: map[string]string{"internal.segment.bytes": "1500"}})
	require.NoError(t, err)
	const clients, each = 5, 30
	tp := TopicPartition{Topic: "t"}
	var mu sync.Mutex
	var history []porcupine.Operation
	var written atomic.Int64 // about how many records there are
	began := time.Now()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(c)))
			last := map[string]Offset{}
			for i := range each {
				in := listInput{append: rng.IntN(3) > 0, key: fmt.Sprint("k", rng.IntN(2)), value: fmt.Sprint(c, "-", i), offset: Offset(rng.Int64N(written.Load() + 2))}
				if at, ok := last[in.key]; rng.IntN(2) == 0 && (ok || rng.IntN(4) == 0) {
					if !ok {
						at = NoRecord
					}
					in.expect = &at
				}
				call := time.Since(began)
				out := operate(t, s, tp, in)
				answer := time.Since(began)
				if in.append && out.offset >= 0 {
					last[in.key] = out.offset
					written.Add(1)
				} else if in.append {
					last[in.key] = out.actual
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: c, Input: in, Call: int64(call), Output: out, Return: int64(answer)})
				mu.Unlock()
			}
		})
	}
	all.Wait()
	result, info := porcupine.CheckOperationsVerbose(listModel, history, time.Minute)
	if result == porcupine.Illegal {
		path := t.TempDir() + "/history.html"
		_ = porcupine.VisualizePath(listModel, info, path)
		t.Fatalf("seed %d, sync %s: %s", seed, mode, result)
	}
	require.NoError(t, s.Close())
	return len(history), result == porcupine.Ok
}

func operate(t *testing.T, s *Store, tp TopicPartition, in listInput) listOutput {
	if !in.append {
		r, err := s.Fetch(context.Background(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: tp, Offset: in.offset, LeaderEpoch: LeaderEpochUnknown}}, MaxBytes: 1})
		require.NoError(t, err)
		defer r[0].Lease.Release()
		if errors.Is(r[0].Err, ErrOffsetOutOfRange) || len(r[0].Batches) == 0 {
			return listOutput{}
		}
		require.NoError(t, r[0].Err)
		var it batch.Iterator
		batch.Batch(r[0].Batches).Iterate(&it, batch.DefaultMaxBytes)
		require.True(t, it.Next())
		return listOutput{value: string(it.Record().Value)}
	}
	request := AppendRequest{TopicPartition: tp, Batch: keyed(batch.Options{}, in.key, in.value)}
	if in.expect != nil {
		request.Expect = &Expect{Key: []byte(in.key), Last: *in.expect}
	}
	r, err := s.Append(context.Background(), request)
	if conflict, ok := errors.AsType[*VersionConflictError](err); ok {
		return listOutput{offset: -1, actual: conflict.Actual}
	}
	require.NoError(t, err)
	return listOutput{offset: r.BaseOffset}
}
