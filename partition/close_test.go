package partition

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

func TestFetchWaitsForAnAppendAndNotLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := OpenMemory(Config{})
		require.NoError(t, err)
		defer s.Close() // synctest begins in the year 2000
		create(t, s, "t", TopicConfig{Partitions: 3})
		r := FetchRequest{MaxWait: time.Hour, MinBytes: 1}
		for p := range int32(3) {
			r.Partitions = append(r.Partitions, FetchPosition{TopicPartition: TopicPartition{"t", p}, LeaderEpoch: -1})
		}
		began := time.Now()
		got := make(chan []FetchResult, 1)
		for range 2 { // the second uses the first's waiter again
			go func() {
				rs, _ := s.Fetch(context.Background(), r)
				got <- rs
			}()
			synctest.Wait()
			require.Equal(t, 1, s.Stats().ParkedFetches)
			appendTo(t, s, "t", 2, "x")
			rs := <-got
			require.Equal(t, []string{"x"}, values(t, rs[2].Batches))
			releaseAll(rs)
			r.Partitions[2].Offset++
			require.Equal(t, began, time.Now(), "no time has passed")
		}
		rs, err := s.Fetch(context.Background(), r)
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(began))
		require.Empty(t, rs[2].Batches)
		require.Zero(t, s.Stats().ParkedFetches)
	})
}

func TestFetchWaitsForMinBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := OpenMemory(Config{})
		require.NoError(t, err)
		defer s.Close()
		create(t, s, "t", TopicConfig{})
		size := len(records("x"))
		done := make(chan int)
		go func() {
			rs, err := s.Fetch(context.Background(), FetchRequest{MinBytes: 2*size + 1, MaxWait: time.Hour,
				Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, LeaderEpoch: -1}}})
			if err != nil {
				panic(err)
			}
			n := len(rs[0].Batches)
			releaseAll(rs)
			done <- n
		}()
		for range 2 {
			appendTo(t, s, "t", 0, "x")
			synctest.Wait()
			select {
			case <-done:
				t.Fatal("too early")
			default:
			}
		}
		appendTo(t, s, "t", 0, "x")
		require.Equal(t, 3*size, <-done)
	})
}

func TestCancelledFetchReturnsTheContextsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := OpenMemory(Config{})
		require.NoError(t, err)
		defer s.Close()
		create(t, s, "t", TopicConfig{})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = s.Fetch(ctx, FetchRequest{MaxWait: time.Hour, Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, LeaderEpoch: -1}}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestDeletedTopicWakesItsFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := OpenMemory(Config{})
		require.NoError(t, err)
		defer s.Close()
		create(t, s, "t", TopicConfig{})
		got := make(chan error)
		go func() {
			rs, err := s.Fetch(context.Background(), FetchRequest{MaxWait: time.Hour, Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, LeaderEpoch: -1}}})
			got <- errors.Join(err, rs[0].Err)
		}()
		synctest.Wait()
		require.NoError(t, s.DeleteTopic(context.Background(), "t"))
		require.ErrorIs(t, <-got, ErrUnknownTopicOrPartition)
	})
}

// After Close everything returns ErrClosed, whoever waits is woken, and no goroutine is left: synctest would say so.
func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := OpenMemory(Config{Sync: SyncInterval(time.Second)})
		require.NoError(t, err)
		topic := create(t, s, "t", TopicConfig{})
		p, err := topic.Partition(0)
		require.NoError(t, err)
		appendTo(t, s, "t", 0, "x")
		parked := make(chan error)
		at := []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, Offset: 1, LeaderEpoch: -1}}
		go func() {
			_, err := s.Fetch(context.Background(), FetchRequest{MaxWait: time.Hour, Partitions: at})
			parked <- err
		}()
		synctest.Wait()
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-parked, ErrClosed)
		require.NoError(t, s.Close(), "twice")

		ctx := context.Background()
		for name, f := range map[string]func() error{
			"Append": func() error {
				_, err := s.Append(ctx, AppendRequest{TopicPartition: TopicPartition{"t", 0}, Batch: records("x")})
				return err
			},
			"Append unknown": func() error {
				_, err := s.Append(ctx, AppendRequest{TopicPartition: TopicPartition{"u", 0}, Batch: records("x")})
				return err
			},
			"Partition.Append": func() error { _, err := p.Append(ctx, records("x"), AcksAll); return err },
			"Partition.Fetch":  func() error { return p.Fetch(0, 100, new(FetchResult)) },
			"Fetch":            func() error { _, err := s.Fetch(ctx, FetchRequest{Partitions: at}); return err },
			"HighWatermark":    func() error { _, err := p.HighWatermark(); return err },
			"LogStart":         func() error { _, err := p.LogStart(); return err },
			"ReadCopy":         func() error { _, _, err := p.ReadCopy(nil, 0, 100); return err },
			"ListOffsets":      func() error { _, err := s.ListOffsets(ctx, TopicPartition{"t", 0}, -1); return err },
			"EpochEnd":         func() error { _, _, err := s.EpochEnd(ctx, TopicPartition{"t", 0}, 0); return err },
			"Metadata":         func() error { _, err := s.Metadata(ctx, nil); return err },
			"CreateTopic":      func() error { _, err := s.CreateTopic(ctx, "u", TopicConfig{}); return err },
			"DeleteTopic":      func() error { return s.DeleteTopic(ctx, "t") },
			"ListTopics":       func() error { _, err := s.ListTopics(ctx); return err },
			"DescribeTopic":    func() error { _, err := s.DescribeTopic(ctx, "t"); return err },
			"AlterTopicConfig": func() error { return s.AlterTopicConfig(ctx, "t", map[string]string{keyMaxMessageBytes: "5"}) },
			"CreatePartitions": func() error { return s.CreatePartitions(ctx, "t", 9) },
			"InitProducerID":   func() error { _, err := s.InitProducerID(ctx, "", 0, NoProducerID); return err },
			"InitProducerID of a transactional id": func() error {
				_, err := s.InitProducerID(ctx, "a", time.Minute, NoProducerID)
				return err
			},
			"AddPartitionsToTxn":   func() error { return s.AddPartitionsToTxn(ctx, "a", ProducerID{}, nil) },
			"EndTxn":               func() error { _, err := s.EndTxn(ctx, "a", ProducerID{}, true); return err },
			"ListTransactions":     func() error { _, err := s.ListTransactions(ctx, TransactionFilter{}); return err },
			"DescribeTransactions": func() error { _, err := s.DescribeTransactions(ctx, nil); return err },
			"DescribeProducers":    func() error { _, err := s.DescribeProducers(ctx, TopicPartition{"t", 0}); return err },
			"AbortTransaction":     func() error { return s.AbortTransaction(ctx, "a") },
			"AbortHanging":         func() error { return s.AbortHanging(ctx, TopicPartition{"t", 0}, ProducerState{}) },
			"Topic":                func() error { _, err := s.Topic("t"); return err },
			"Topic.Partition":      func() error { _, err := topic.Partition(0); return err },
			"DeleteRecords":        func() error { _, err := s.DeleteRecords(ctx, TopicPartition{"t", 0}, 1); return err },
			"Verify":               func() error { _, err := s.Verify(ctx); return err },
			"Snapshot":             func() error { return s.Snapshot(ctx, "x") },
			"Import":               func() error { _, err := s.Import(ctx, "x", ImportOptions{}); return err },
			"Service":              func() error { _, err := s.Service("g", func() (io.Closer, error) { return nil, nil }); return err },
		} {
			require.ErrorIs(t, f(), ErrClosed, name)
		}
	})
}

func TestServicesCloseLastFirstWhileTheStoreStillTakesAppends(t *testing.T) {
	s, err := OpenMemory(Config{})
	require.NoError(t, err)
	create(t, s, "t", TopicConfig{})
	var order []string
	start := func(name string) func() (io.Closer, error) {
		return func() (io.Closer, error) {
			return closerFunc(func() error {
				appendTo(t, s, "t", 0, name)
				order = append(order, name)
				return nil
			}), nil
		}
	}
	boom := errors.New("boom")
	_, err = s.Service("a", func() (io.Closer, error) { return nil, boom })
	require.ErrorIs(t, err, boom, "a failed start is tried again")
	a, err := s.Service("a", start("a"))
	require.NoError(t, err)
	_, err = s.Service("b", start("b"))
	require.NoError(t, err)
	again, err := s.Service("a", func() (io.Closer, error) { panic("started twice") })
	require.NoError(t, err)
	require.Equal(t, &a, &a)
	require.NotNil(t, again)
	require.NoError(t, s.Close())
	require.Equal(t, []string{"b", "a"}, order)
}

func TestCloseDoesNotWaitForEverForAService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := OpenMemory(Config{CloseTimeout: time.Minute})
		require.NoError(t, err)
		hang := make(chan struct{})
		_, err = s.Service("stuck", func() (io.Closer, error) {
			return closerFunc(func() error { <-hang; return nil }), nil
		})
		require.NoError(t, err)
		began := time.Now()
		err = s.Close()
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorContains(t, err, `"stuck"`)
		require.Equal(t, time.Minute, time.Since(began))
		close(hang)
	})
}

func TestCloseNamesForgottenLeases(t *testing.T) {
	s, err := OpenMemory(Config{})
	require.NoError(t, err)
	create(t, s, "t", TopicConfig{})
	appendTo(t, s, "t", 0, "x")
	rs, err := s.Fetch(t.Context(), FetchRequest{Partitions: []FetchPosition{{TopicPartition: TopicPartition{"t", 0}, LeaderEpoch: -1}}})
	require.NoError(t, err)
	err = s.Close()
	e := new(OpenLeasesError)
	require.ErrorAs(t, err, &e)
	require.Equal(t, TopicPartition{"t", 0}, e.Leases[0].TopicPartition)
	require.Equal(t, 1, e.Leases[0].Count)
	require.ErrorContains(t, err, "t-0 (1, oldest")
	require.Equal(t, []string{"x"}, values(t, rs[0].Batches), "borrowed bytes outlive the store")
	rs[0].Lease.Release()
	rs[0].Lease.Release()
	new(Lease).Release()
}
