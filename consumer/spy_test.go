package consumer_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// spy is a store whose answers a test may see and change. Functions that are nil change nothing.
type spy struct {
	*partition.Store
	fetched func(partition.FetchRequest, []partition.FetchResult)
	commit  func(group.CommitRequest)
	synced  func(group.SyncRequest, group.SyncResult)
	list    func() error
	joined  func()
}

func (s *spy) ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error) {
	if s.list != nil {
		if err := s.list(); err != nil {
			return 0, err
		}
	}
	return s.Store.ListOffsets(ctx, tp, timestamp)
}

func (s *spy) Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error) {
	results, err := s.Store.Fetch(ctx, r)
	if err == nil && s.fetched != nil {
		s.fetched(r, results)
	}
	return results, err
}

func (s *spy) Service(name string, start func() (io.Closer, error)) (io.Closer, error) {
	service, err := s.Store.Service(name, start)
	if c, ok := service.(group.Coordinators); ok {
		return spyCoordinators{c, s}, err
	}
	return service, err
}

type spyCoordinators struct {
	group.Coordinators
	spy *spy
}

func (s spyCoordinators) Find(ctx context.Context, id string) (group.Coordinator, error) {
	c, err := s.Coordinators.Find(ctx, id)
	return spyCoordinator{c, s.spy}, err
}

type spyCoordinator struct {
	group.Coordinator
	spy *spy
}

func (s spyCoordinator) Commit(ctx context.Context, r group.CommitRequest) error {
	if s.spy.commit != nil {
		s.spy.commit(r)
	}
	return s.Coordinator.Commit(ctx, r)
}

func (s spyCoordinator) Join(ctx context.Context, r group.JoinRequest) (group.JoinResult, error) {
	result, err := s.Coordinator.Join(ctx, r)
	if s.spy.joined != nil {
		s.spy.joined()
	}
	return result, err
}

func (s spyCoordinator) Sync(ctx context.Context, r group.SyncRequest) (group.SyncResult, error) {
	result, err := s.Coordinator.Sync(ctx, r)
	if err == nil && s.spy.synced != nil {
		s.spy.synced(r, result)
	}
	return result, err
}

func (s *spy) group(t *testing.T, c group.Config) *group.ConsumerGroup {
	t.Helper()
	g, err := group.Open(s, "g", c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}

func (s *spy) assign(t *testing.T, c consumer.Config, a ...consumer.Assignment) *consumer.Consumer {
	t.Helper()
	got, err := consumer.Assign(t.Context(), s, a, c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, got.Close()) })
	return got
}

// values are those of a Poll's records.
func values(records []consumer.Record) []string {
	var s []string
	for _, r := range records {
		s = append(s, string(r.Value))
	}
	return s
}

func poll(t *testing.T, c *consumer.Consumer) []string {
	t.Helper()
	records, err := c.Poll(t.Context())
	require.NoError(t, err)
	return values(records)
}

// described waits until the group is in a state, with so many members.
func described(t *testing.T, g *group.ConsumerGroup, state group.State, members int) {
	t.Helper()
	until(t, func() bool {
		d, err := g.Describe(t.Context())
		require.NoError(t, err)
		return d.State == state && len(d.Members) == members
	})
}
