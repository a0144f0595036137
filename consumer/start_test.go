package consumer_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// table is a host's table of results, with the offset in the same row, fenced by the generation.
type table struct {
	mu   sync.Mutex
	rows map[partition.TopicPartition]row
}

type row struct {
	fence  group.Generation
	offset partition.Offset
	sum    int
}

func (x *table) start(_ context.Context, of group.Membership, tps []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	from := make(map[partition.TopicPartition]consumer.Position)
	for _, tp := range tps {
		r := x.rows[tp]
		if r.fence > of.Generation {
			return nil, errors.New("fenced")
		}
		r.fence = of.Generation
		x.rows[tp] = r
		from[tp] = consumer.AtOffset(r.offset)
	}
	return from, nil
}

// write is one transaction of the host.
func (x *table) write(fence group.Generation, tp partition.TopicPartition, o partition.Offset) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.rows[tp]
	if r.fence != fence {
		return false
	}
	r.offset, r.sum = o+1, r.sum+1
	x.rows[tp] = r
	return true
}

// Offsets that live with the host are asked for at each assignment, only for what is new, and nothing is committed to the
// group; through a rebalance every record counts once.
func TestOffsetsOfTheHostAreAskedForAtEachAssignmentAndNothingIsCommitted(t *testing.T) {
	for _, assignors := range [][]group.Assignor{eager, cooperative} {
		t.Run(assignors[0].Name(), func(t *testing.T) {
			store := newStore(t, "t", 4)
			for p := range int32(4) {
				write(t, store, "t", p, 0, 50)
			}
			g := openGroup(t, store, group.Config{Assignors: assignors})
			rows := &table{rows: make(map[partition.TopicPartition]row)}
			member := func(n int) {
				var mu sync.Mutex
				fences := make(map[partition.TopicPartition]group.Generation)
				c, err := consumer.Join(t.Context(), g, consumer.Config{
					Topics: []string{"t"}, Until: consumer.UntilEnd(),
					Start: func(ctx context.Context, of group.Membership, tps []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
						mu.Lock()
						for _, tp := range tps {
							fences[tp] = of.Generation
						}
						mu.Unlock()
						return rows.start(ctx, of, tps)
					},
				})
				if err != nil {
					t.Error(err)
					return
				}
				for r, err := range c.Records(t.Context()) {
					if err != nil {
						t.Error(err)
						break
					}
					mu.Lock()
					fence := fences[at(r.Topic, r.Partition)]
					mu.Unlock()
					if !rows.write(fence, at(r.Topic, r.Partition), r.Offset) {
						t.Errorf("fenced at %d", r.Offset)
					}
					if n--; n == 0 {
						break
					}
				}
				if err := c.Commit(t.Context()); err == nil {
					t.Error("a commit to the group")
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for range 4 {
						member(17)
					}
					member(-1)
				})
			}
			wg.Wait()
			member(-1)
			for p := range int32(4) {
				require.Equal(t, 50, rows.rows[at("t", p)].sum)
			}
			require.Empty(t, committed(t, g))
		})
	}
}

func TestStartThatFailsEndsTheIterationAndWhatItLeavesOutIsReset(t *testing.T) {
	store := newStore(t, "t", 2)
	write(t, store, "t", 0, 0, 3)
	write(t, store, "t", 1, 10, 3)
	g := openGroup(t, store, group.Config{})
	broken := errors.New("no database")
	config := consumer.Config{Topics: []string{"t"}, Start: func(context.Context, group.Membership, []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
		return nil, broken
	}}
	_, err := consumer.Join(t.Context(), g, config)
	require.ErrorIs(t, err, broken)
	described(t, g, group.Empty, 0)
	config.Start = func(context.Context, group.Membership, []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
		return map[partition.TopicPartition]consumer.Position{at("t", 1): consumer.AtOffset(2)}, nil
	}
	config.Until = consumer.UntilEnd()
	require.ElementsMatch(t, append(texts(0, 3), texts(12, 1)...), all(t, join(t, g, config)))
	_, err = consumer.Assign(t.Context(), store, nil, consumer.Config{Start: config.Start})
	require.ErrorIs(t, err, partition.ErrInvalidConfig)
}

// A panic of the host's goes through Join. The member that was being made goes with it: nobody would speak for it, and the
// next Join would wait for it as long as a rebalance may take.
func TestPanicInJoinLeavesNoMemberBehind(t *testing.T) {
	for _, assignors := range [][]group.Assignor{eager, cooperative} {
		t.Run(assignors[0].Name(), func(t *testing.T) {
			store := newStore(t, "t", 2)
			g := openGroup(t, store, group.Config{Assignors: assignors})
			for _, config := range []consumer.Config{
				{Topics: []string{"t"}, Start: func(context.Context, group.Membership, []partition.TopicPartition) (map[partition.TopicPartition]consumer.Position, error) {
					panic("of the host")
				}},
				{Topics: []string{"t"}, Listener: consumer.Listener{Assigned: func([]partition.TopicPartition) { panic("of the host") }}},
			} {
				require.PanicsWithValue(t, "of the host", func() { _, _ = consumer.Join(t.Context(), g, config) })
				d, err := g.Describe(t.Context())
				require.NoError(t, err)
				require.Empty(t, d.Members)
			}
			c, err := consumer.Join(t.Context(), g, consumer.Config{Topics: []string{"t"}})
			require.NoError(t, err)
			require.Len(t, c.Assignment(), 2)
			require.NoError(t, c.Close())
		})
	}
}
