package consumer_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// Whatever calls Commit and whenever: no request names a partition that another member has in the generation that it is
// made in, and offsets of one partition never go back.
func TestCommitsNameNobodyElsesPartitions(t *testing.T) {
	for _, assignors := range [][]group.Assignor{eager, cooperative} {
		t.Run(assignors[0].Name(), func(t *testing.T) { commitsOfMembersThatComeAndGo(t, assignors) })
	}
}

func commitsOfMembersThatComeAndGo(t *testing.T, assignors []group.Assignor) {
	store := newStore(t, "t", 3)
	for p := range int32(3) {
		for i := 0; i < 2000; i += 10 {
			write(t, store, "t", p, i, 10)
		}
	}
	var mu sync.Mutex
	owner := make(map[string]string) // by generation and partition
	highest := make(map[partition.TopicPartition]partition.Offset)
	backend := &spy{Store: store}
	key := func(m group.Membership, tp partition.TopicPartition) string { return fmt.Sprint(m.Generation, tp) }
	backend.synced = func(r group.SyncRequest, s group.SyncResult) {
		a, err := group.DecodeAssignment(s.Assignment)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, tp := range a.Partitions {
			owner[key(r.Membership, tp)] = r.MemberID
		}
	}
	backend.commit = func(r group.CommitRequest) {
		mu.Lock()
		defer mu.Unlock()
		for tp, o := range r.Offsets {
			has := owner[key(r.Membership, tp)]
			if has != r.MemberID && (has != "" || assignors[0] == eager[0]) {
				t.Errorf("%v of %s commits %s of %q", r.Generation, r.MemberID, tp, has)
			}
			if o.Offset < highest[tp] {
				t.Errorf("%s goes back from %d to %d", tp, highest[tp], o.Offset)
			}
			highest[tp] = max(highest[tp], o.Offset)
		}
	}
	g := backend.group(t, group.Config{Assignors: assignors})
	a := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = a.Commit(ctx) // a generation that is over is an error that belongs here
				runtime.Gosched()
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			b, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}})
			if err != nil {
				return
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	require.GreaterOrEqual(t, len(all(t, a)), 1)
	cancel()
	wg.Wait()
}

// The committed leader epoch is that of the last finished record, however it was read.
func TestCommittedLeaderEpochIsThatOfTheLastFinishedRecord(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 4)
	write(t, store, "t", 0, 4, 4)
	for name, read := range map[string]func(*consumer.Consumer){
		"records": func(c *consumer.Consumer) {
			for r, err := range c.Records(t.Context()) {
				require.NoError(t, err)
				if r.Offset == 5 {
					return
				}
			}
		},
		"poll": func(c *consumer.Consumer) {
			poll(t, c) // of each epoch one batch: the second acknowledges the first
			poll(t, c)
		},
		"borrowed": func(c *consumer.Consumer) {
			run, err := c.PollBorrowed(t.Context())
			require.NoError(t, err)
			defer run.Release()
			for r, err := range run.All() {
				require.NoError(t, err)
				if r.Offset == 5 {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			backend := &spy{Store: store}
			backend.fetched = func(_ partition.FetchRequest, results []partition.FetchResult) {
				for i := range results { // the second batch is of another leader
					if results[i].Topic != "t" {
						continue
					}
					for rest := batch.Batch(results[i].Batches); len(rest) > 0; rest = rest[rest.Length():] {
						rest.SetLeaderEpoch(7 + int32(rest.BaseOffset()/4))
					}
				}
			}
			var told []group.CommittedOffset
			g, err := group.Open(backend, name, group.Config{})
			require.NoError(t, err)
			c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}, MaxPollRecords: 5, Events: consumer.Events{
				Committed: func(o map[partition.TopicPartition]group.CommittedOffset, err error) {
					require.NoError(t, err)
					told = append(told, o[at("t", 0)])
				},
			}})
			require.NoError(t, err)
			read(c)
			require.NoError(t, c.Commit(t.Context()))
			require.NoError(t, c.Close())
			require.Len(t, told, 1)
			require.EqualValues(t, 5, told[0].Offset)
			require.EqualValues(t, 8, told[0].LeaderEpoch)
		})
	}
}

// A topic that is deleted and made again is another one: its offsets are committed also where the old one's were.
func TestCommitOfARecreatedTopicAtTheSameOffset(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 5)
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{CommitInterval: consumer.NoInterval, MaxPollRecords: 5})
	require.Equal(t, texts(0, 5), poll(t, c))
	write(t, store, "t", 0, 5, 1)
	poll(t, c)
	require.NoError(t, c.Commit(t.Context()))
	require.EqualValues(t, 5, committed(t, g)[at("t", 0)])
	require.NoError(t, store.DeleteTopic(t.Context(), "t"))
	_, err := store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	write(t, store, "t", 0, 50, 6)
	require.Equal(t, texts(50, 5), poll(t, c))
	require.Equal(t, texts(55, 1), poll(t, c))
	require.NoError(t, c.Commit(t.Context()))
	require.EqualValues(t, 5, committed(t, g)[at("t", 0)])
}

// A member whose topic was gone for a moment reads the new one, although the number of partitions is as before.
func TestTopicThatWasGoneForAMomentIsReadAgain(t *testing.T) {
	store := newStore(t, "t", 1)
	time := clock.NewManual(timeZero)
	backend := &spy{Store: store}
	gone := make(chan struct{}, 1)
	backend.fetched = func(_ partition.FetchRequest, results []partition.FetchResult) {
		for _, r := range results {
			if r.Topic == "t" && r.Err != nil {
				select {
				case gone <- struct{}{}:
				default:
				}
			}
		}
	}
	g := backend.group(t, group.Config{RebalanceTimeout: 20 * 24 * 3600e9}) // the clock runs
	c := join(t, g, consumer.Config{Clock: time})
	got := make(chan []consumer.Record, 1)
	go func() {
		records, err := c.Poll(context.Background())
		if err != nil {
			t.Error(err)
		}
		got <- records
	}()
	until(t, func() bool { return store.Stats().ParkedFetches > 0 })
	require.NoError(t, store.DeleteTopic(t.Context(), "t"))
	<-gone
	runtime.Gosched() // lets the loop look at the metadata, mostly: either way has to work
	_, err := store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	write(t, store, "t", 0, 50, 1)
	passing(t, time, 5e9, func() bool { return len(got) > 0 })
	require.Equal(t, texts(50, 1), values(<-got))
}

// Control records and gaps at the end of a partition belong to what has been read.
func TestControlRecordsAtTheEndAreCommittedAsRead(t *testing.T) {
	for name, read := range map[string]func(*testing.T, *consumer.Consumer){
		"records": func(t *testing.T, c *consumer.Consumer) { require.Equal(t, texts(0, 3), all(t, c)) },
		"poll": func(t *testing.T, c *consumer.Consumer) {
			require.Equal(t, texts(0, 3), poll(t, c))
			_, err := c.Poll(t.Context())
			require.Error(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, "t", 1)
			write(t, store, "t", 0, 0, 3)
			_, err := store.Append(t.Context(), partition.AppendRequest{
				TopicPartition: at("t", 0), Internal: true,
				Batch: batch.BuildControl(nil, batch.ControlCommit, 1, 0, 0, timeZero.UnixMilli()),
			})
			require.NoError(t, err)
			g := openGroup(t, store, group.Config{})
			c := join(t, g, consumer.Config{Until: consumer.UntilEnd()})
			read(t, c)
			require.NoError(t, c.Close())
			require.EqualValues(t, 4, committed(t, g)[at("t", 0)])
		})
	}
}

// A Commit whose context is done does not wait for a commit that is under way.
func TestCommitDoesNotOutlastItsContext(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 5)
	begun, goOn := make(chan struct{}), make(chan struct{})
	backend := &spy{Store: store}
	backend.commit = func(group.CommitRequest) {
		close(begun)
		<-goOn
	}
	g := backend.group(t, group.Config{})
	c := join(t, g, consumer.Config{CommitInterval: consumer.NoInterval, MaxPollRecords: 2})
	poll(t, c)
	poll(t, c)
	first := make(chan error, 1)
	go func() { first <- c.Commit(context.Background()) }()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Commit(ctx), context.Canceled)
	close(goOn)
	require.NoError(t, <-first)
	backend.commit = nil
}

// A Close that comes while a rebalance commits what is finished does not cut that commit off.
func TestCloseDuringARebalanceLosesNoAcknowledgement(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 5)
	begun, goOn := make(chan struct{}, 8), make(chan struct{})
	backend := &spy{Store: store, commit: func(group.CommitRequest) {
		begun <- struct{}{}
		<-goOn
	}}
	g := backend.group(t, group.Config{Assignors: eager})
	c := join(t, g, consumer.Config{Until: consumer.UntilEnd(), CommitInterval: consumer.NoInterval})
	require.Len(t, all(t, c), 5)
	ctx, cancel := context.WithCancel(t.Context())
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		if b, err := consumer.Join(ctx, g, consumer.Config{Topics: []string{"t"}}); err == nil {
			_ = b.Close()
		}
	}()
	<-begun // of the rebalance
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	until(t, func() bool { return c.Stopped() })
	close(goOn)
	require.NoError(t, <-closed)
	cancel()
	<-joined
	require.EqualValues(t, 5, committed(t, g)[at("t", 0)])
}
