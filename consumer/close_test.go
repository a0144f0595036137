package consumer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// Each state of a consumer, ended by each who can end it: the call that reads gets ErrClosed, Close returns, and no
// goroutine is left (a bubble with one left fails the test).
func TestCloseMatrix(t *testing.T) {
	type state struct {
		config consumer.Config
		enter  func(*testing.T, *consumer.Consumer) // reads until it has to wait, or is content
		leave  func()                               // of what Close does not end
	}
	states := map[string]func() state{
		"never read": func() state { return state{} },
		"at the end": func() state {
			return state{enter: func(t *testing.T, c *consumer.Consumer) {
				go func() {
					var last error
					for _, last = range c.Records(context.Background()) {
					}
					if !errors.Is(last, consumer.ErrClosed) {
						t.Errorf("last pair: %v", last)
					}
				}()
			}}
		},
		"in a loop body": func() state {
			leave := make(chan struct{})
			return state{leave: func() { close(leave) }, enter: func(t *testing.T, c *consumer.Consumer) {
				go func() {
					var last error
					for _, last = range c.Records(context.Background()) {
						if last == nil {
							<-leave
						}
					}
					if !errors.Is(last, consumer.ErrClosed) {
						t.Errorf("last pair: %v", last)
					}
				}()
			}}
		},
		"after a break": func() state {
			return state{enter: func(t *testing.T, c *consumer.Consumer) {
				for range c.Records(context.Background()) {
					break
				}
			}}
		},
		"after a poll": func() state {
			return state{enter: func(t *testing.T, c *consumer.Consumer) { poll(t, c) }}
		},
		"reading ahead": func() state {
			return state{config: consumer.Config{MaxPartitionBytes: 100 << 10}, enter: func(t *testing.T, c *consumer.Consumer) { poll(t, c) }}
		},
		"a run borrowed": func() state {
			var run *consumer.Borrowed
			return state{leave: func() { run.Release() }, enter: func(t *testing.T, c *consumer.Consumer) {
				var err error
				run, err = c.PollBorrowed(context.Background())
				require.NoError(t, err)
			}}
		},
		"everything paused": func() state {
			return state{enter: func(t *testing.T, c *consumer.Consumer) {
				require.NoError(t, c.Pause(c.Assignment()...))
				go func() {
					if _, err := c.Poll(context.Background()); !errors.Is(err, consumer.ErrClosed) {
						t.Errorf("poll: %v", err)
					}
				}()
			}}
		},
	}
	for name, made := range states {
		for _, joined := range []bool{false, true} {
			for _, storeFirst := range []bool{false, true} {
				who := "consumer"
				if storeFirst {
					who = "store"
				}
				kind := "assigned"
				if joined {
					kind = "joined"
				}
				t.Run(name+"/"+kind+"/"+who, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := made()
						store, c := open(t, joined, s.config)
						if s.enter != nil {
							s.enter(t, c)
						}
						synctest.Wait()
						if storeFirst {
							if s.leave != nil {
								s.leave()
							}
							require.NoError(t, store.Close())
							synctest.Wait()
						}
						err := c.Close()
						if !errors.Is(err, consumer.ErrClosed) { // what was finished has nowhere to go
							require.NoError(t, err)
						}
						require.Equal(t, err, c.Close(), "again")
						synctest.Wait()
						_, err = c.Poll(context.Background())
						if name != "a run borrowed" && name != "in a loop body" || storeFirst {
							require.ErrorIs(t, err, consumer.ErrClosed)
						}
						if !storeFirst {
							if s.leave != nil {
								s.leave()
							}
							synctest.Wait()
							require.NoError(t, store.Close())
						}
					})
				})
			}
		}
	}
}

// open returns a store with some records, and a consumer of them.
func open(t *testing.T, joined bool, config consumer.Config) (*partition.Store, *consumer.Consumer) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(context.Background(), "t", partition.TopicConfig{Partitions: 2})
	require.NoError(t, err)
	for i := range 20 {
		write(t, store, "t", 0, i*1000, 1000)
	}
	if !joined {
		c, err := consumer.Assign(context.Background(), store, []consumer.Assignment{{TopicPartition: at("t", 0)}, {TopicPartition: at("t", 1)}}, config)
		require.NoError(t, err)
		return store, c
	}
	g, err := group.Open(store, "g", group.Config{})
	require.NoError(t, err)
	config.Topics = []string{"t"}
	c, err := consumer.Join(context.Background(), g, config)
	require.NoError(t, err)
	return store, c
}

// A second Close waits for the first, and gets what it got.
func TestSecondCloseWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := partition.OpenMemory(partition.Config{})
		require.NoError(t, err)
		_, err = store.CreateTopic(context.Background(), "t", partition.TopicConfig{Partitions: 1})
		require.NoError(t, err)
		write(t, store, "t", 0, 0, 3)
		goOn := make(chan struct{})
		backend := &spy{Store: store, commit: func(group.CommitRequest) { <-goOn }}
		g, err := group.Open(backend, "g", group.Config{})
		require.NoError(t, err)
		c, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}, MaxPollRecords: 1, CommitInterval: consumer.NoInterval})
		require.NoError(t, err)
		poll(t, c)
		poll(t, c)
		closed := make(chan error, 3)
		for range 3 {
			go func() { closed <- c.Close() }()
		}
		synctest.Wait()
		require.Empty(t, closed)
		close(goOn)
		for range 3 {
			require.NoError(t, <-closed)
		}
		require.EqualValues(t, 1, committed(t, g)[at("t", 0)])
		require.NoError(t, store.Close())
	})
}

// Close in a function of Events or Listener begins, and does not wait for what it is part of.
func TestCloseInsideEventsDoesNotDeadlock(t *testing.T) {
	for name, set := range map[string]func(*consumer.Config, func()){
		"assigned": func(c *consumer.Config, f func()) { c.Listener.Assigned = func([]partition.TopicPartition) { f() } },
		"revoked":  func(c *consumer.Config, f func()) { c.Listener.Revoked = func([]partition.TopicPartition) { f() } },
		"committed": func(c *consumer.Config, f func()) {
			c.Events.Committed = func(map[partition.TopicPartition]group.CommittedOffset, error) { f() }
		},
		"reset": func(c *consumer.Config, f func()) {
			c.Events.Reset = func(partition.TopicPartition, partition.Offset, partition.Offset, error) { f() }
		},
	} {
		for _, assignors := range [][]group.Assignor{eager, cooperative} {
			t.Run(name+"/"+assignors[0].Name(), func(t *testing.T) { closeInside(t, name, assignors, set) })
		}
	}
}

func closeInside(t *testing.T, name string, assignors []group.Assignor, set func(*consumer.Config, func())) {
	synctest.Test(t, func(t *testing.T) {
		store, err := partition.OpenMemory(partition.Config{})
		require.NoError(t, err)
		_, err = store.CreateTopic(context.Background(), "t", partition.TopicConfig{Partitions: 2})
		require.NoError(t, err)
		write(t, store, "t", 0, 0, 10)
		g, err := group.Open(store, "g", group.Config{Assignors: assignors})
		require.NoError(t, err)
		var c *consumer.Consumer
		told := 0
		config := consumer.Config{Topics: []string{"t"}}
		set(&config, func() {
			if told++; c != nil {
				_ = c.Commit(context.Background()) // nor does this
				_ = c.Close()
			}
		})
		made, err := consumer.Join(context.Background(), g, config)
		require.NoError(t, err)
		c = made
		ended := make(chan error, 1)
		go func() {
			var last error
			for r, err := range made.Records(context.Background()) {
				if last = err; err == nil && r.Offset == 4 && name == "reset" {
					last = made.Seek(at("t", 0), consumer.AtOffset(1000))
				}
			}
			ended <- last
		}()
		synctest.Wait()
		if b, err := consumer.Join(context.Background(), g, consumer.Config{Topics: []string{"t"}}); err == nil {
			require.NoError(t, b.Close())
		}
		require.ErrorIs(t, <-ended, consumer.ErrClosed)
		require.NoError(t, made.Close())
		require.Positive(t, told)
		require.NoError(t, store.Close())
	})
}
