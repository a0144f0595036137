package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// deeds is the history of what was done of each partition, by whom it is owned, and what was committed.
type deeds struct {
	t    *testing.T
	seed uint64

	mu      sync.Mutex // guards what follows
	done    map[partition.TopicPartition]map[partition.Offset]bool
	owner   map[partition.TopicPartition]string
	tenure  map[partition.TopicPartition]int // how often it was assigned
	last    map[string]partition.Offset      // by partition, tenure and key
	commits int
	repeats int
}

func (d *deeds) finish(tp partition.TopicPartition, o partition.Offset) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done[tp] == nil {
		d.done[tp] = map[partition.Offset]bool{}
	}
	if d.done[tp][o] {
		d.repeats++
	}
	d.done[tp][o] = true
}

// committed checks that everything below a committed offset is done.
func (d *deeds) committed(offsets map[partition.TopicPartition]group.CommittedOffset, err error) {
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits++
	for tp, c := range offsets {
		for o := range c.Offset {
			if !d.done[tp][o] {
				d.t.Errorf("seed %d: %s is committed at %d, and %d is not done", d.seed, tp, c.Offset, o)
				return
			}
		}
	}
}

// begins checks that a member handles what it owns, and each key's records in order. It returns what ends is to be given:
// a handler may come to its end when its partition has gone, and come back. One that was told to end may also begin late.
func (d *deeds) begins(ctx context.Context, member string, r consumer.Record) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	tp := at(r.Topic, r.Partition)
	if ctx.Err() != nil {
		return ""
	}
	if d.owner[tp] != member {
		d.t.Errorf("seed %d: %s handles a record of %s, which %q has", d.seed, member, tp, d.owner[tp])
	}
	if r.Key == nil {
		return ""
	}
	key := fmt.Sprint(tp, d.tenure[tp], string(r.Key))
	if last, ok := d.last[key]; ok && r.Offset <= last {
		d.t.Errorf("seed %d: %s: offset %d of key %s of %s behind %d", d.seed, member, r.Offset, r.Key, tp, last)
	}
	return key
}

func (d *deeds) ends(key string, o partition.Offset) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if key != "" {
		d.last[key] = o
	}
}

// Forward buries.
func (d *deeds) Forward(_ context.Context, _ string, key, value []byte, headers []partition.Header) error {
	_, l := letter(d.t, headers)
	d.finish(l.tp, l.offset)
	return nil
}

// Members join, close, and are cancelled without a grace, at random, while handlers take random times, fail, panic and bury.
// Whatever happens: nothing is committed that is not done, a member handles only what it owns, each key's records in order,
// and in the end everything has been done. PARTLOG_SOAK=<duration> goes on for so long.
func TestWorkersLoseNothingWhateverComesAndGoes(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	began := time.Now()
	for seed := uint64(0); seed < seeds || time.Since(began) < soak; seed++ {
		for _, assignors := range [][]group.Assignor{cooperative, eager} {
			synctest.Test(t, func(t *testing.T) { workersHistory(t, seed, assignors) })
		}
	}
}

func workersHistory(t *testing.T, seed uint64, assignors []group.Assignor) {
	const partitions, each = 5, 300
	rng := rand.New(rand.NewPCG(seed, 7))
	store := newStore(t, "t", partitions)
	for p := range int32(partitions) {
		keyed(t, store, "t", p, each, "a", "b", "c", "", "d", "e", "")
	}
	g := openGroup(t, store, group.Config{Assignors: assignors})
	d := &deeds{
		t: t, seed: seed, done: map[partition.TopicPartition]map[partition.Offset]bool{},
		owner: map[partition.TopicPartition]string{}, last: map[string]partition.Offset{}, tenure: map[partition.TopicPartition]int{},
	}
	handle := func(member string, rng *rand.Rand, mu *sync.Mutex) consumer.Handler {
		return func(ctx context.Context, r consumer.Record) error {
			key := d.begins(ctx, member, r)
			mu.Lock()
			wait, luck := time.Duration(rng.IntN(40))*time.Millisecond, rng.IntN(100)
			mu.Unlock()
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
			switch {
			case luck < 3:
				panic("unlucky")
			case luck < 10:
				return errors.New("failed")
			}
			d.ends(key, r.Offset)
			if ctx.Err() == nil {
				d.finish(at(r.Topic, r.Partition), r.Offset)
			}
			return nil
		}
	}
	var members sync.WaitGroup
	begin := func(name string, lifetime time.Duration, killed bool) {
		config := consumer.Config{Topics: []string{"t"}, CommitInterval: 50 * time.Millisecond, Events: consumer.Events{Committed: d.committed}}
		config.Listener = consumer.Listener{
			Assigned: func(tps []partition.TopicPartition) {
				d.mu.Lock()
				defer d.mu.Unlock()
				for _, tp := range tps {
					d.owner[tp] = name
					d.tenure[tp]++ // it begins at the last commit
				}
			},
			Revoked: func(tps []partition.TopicPartition) {
				d.mu.Lock()
				defer d.mu.Unlock()
				for _, tp := range tps {
					if d.owner[tp] == name {
						d.owner[tp] = ""
					}
				}
			},
		}
		work := consumer.WorkConfig{
			Workers: 1 + rng.IntN(8), MaxInFlight: 1 + rng.IntN(60), DeadLetter: "dead", Forwarder: d, Grace: 20 * time.Millisecond,
			Retry: consumer.Retry{Attempts: 1 + rng.IntN(3), Backoff: 5 * time.Millisecond},
		}
		if killed {
			work.Grace = consumer.NoGrace
		}
		luck, mu := rand.New(rand.NewPCG(seed, rng.Uint64())), new(sync.Mutex)
		members.Go(func() {
			c, err := consumer.Join(context.Background(), g, config)
			if err != nil {
				t.Error(err)
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), lifetime)
			defer cancel()
			err = consumer.Work(ctx, c, handle(name, luck, mu), work)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("seed %d: %s: %v", seed, name, err)
			}
			if err := c.Close(); err != nil {
				t.Errorf("seed %d: %s: %v", seed, name, err)
			}
		})
	}
	for i := range 10 {
		begin(fmt.Sprint("m", i), time.Duration(50+rng.IntN(600))*time.Millisecond, rng.IntN(2) == 0)
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	}
	begin("last", 5*time.Minute, false)
	members.Wait()
	for p := range int32(partitions) {
		require.Len(t, d.done[at("t", p)], each, "seed %d", seed)
		require.Equal(t, partition.Offset(each), committedOf(t, g, p), "seed %d", seed)
	}
	t.Logf("seed %d: %d commits, %d records done again", seed, d.commits, d.repeats)
}
