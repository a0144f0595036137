package consumer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// heldPartitions is who has what, as listeners were told.
type heldPartitions struct {
	mu   sync.Mutex
	held map[string][]partition.TopicPartition
}

func (h *heldPartitions) listener(member string) consumer.Listener {
	drop := func(tps []partition.TopicPartition) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held[member] = slices.DeleteFunc(h.held[member], func(tp partition.TopicPartition) bool { return slices.Contains(tps, tp) })
	}
	return consumer.Listener{
		Assigned: func(tps []partition.TopicPartition) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.held[member] = append(h.held[member], tps...)
		},
		Revoked: drop, Lost: drop,
	}
}

func (h *heldPartitions) count() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, tps := range h.held {
		n += len(tps)
	}
	return n
}

// Consumers of this process go on reading while a member of the new protocol (KIP-848) joins their group, takes its share
// and leaves again: they give up what it gets, and read on behind what was committed of it; no record is lost, and none is
// read twice.
func TestConsumersShareTheirGroupWithAMemberOfTheNewProtocol(t *testing.T) {
	for name, assignors := range map[string][]group.Assignor{"cooperative": {group.CooperativeSticky}, "eager": {group.Range}} {
		t.Run(name, func(t *testing.T) {
			const partitions, each = 6, 50
			store := newStore(t, "t", partitions)
			g := openGroup(t, store, group.Config{Assignors: assignors})
			coordinator, err := g.Coordinator(t.Context())
			require.NoError(t, err)
			id, err := store.Metadata(t.Context(), []string{"t"})
			require.NoError(t, err)

			h := &heldPartitions{held: make(map[string][]partition.TopicPartition)}
			var mu sync.Mutex // guards seen
			seen := make(map[string]int)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for _, member := range []string{"a", "b"} {
				c := join(t, g, consumer.Config{Listener: h.listener(member), CommitInterval: time.Millisecond})
				wg.Go(func() {
					for r, err := range c.Records(ctx) {
						if errors.Is(err, context.Canceled) {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						seen[string(r.Value)]++
						mu.Unlock()
					}
				})
			}
			read := func() int {
				mu.Lock()
				defer mu.Unlock()
				return len(seen)
			}
			for p := range int32(partitions) {
				write(t, store, "t", p, int(p)*each, each)
			}
			until(t, func() bool { return read() == partitions*each })

			// The member of the new protocol only holds its partitions: nothing is written to them while it does.
			var epoch group.MemberEpoch
			owned := []group.TopicIDPartitions{}
			heartbeat := func() {
				r := group.ConsumerHeartbeatRequest{Group: g.ID(), MemberID: "n", MemberEpoch: epoch, Owned: owned}
				if epoch == group.JoinGroupEpoch {
					r.Topics, r.RebalanceTimeout = []string{"t"}, time.Minute
				}
				result, err := coordinator.ConsumerGroupHeartbeat(t.Context(), r)
				require.NoError(t, err)
				epoch = result.MemberEpoch
				if result.Assignment != nil {
					owned = result.Assignment
				}
			}
			until(t, func() bool {
				heartbeat()
				return len(owned) == 1 && len(owned[0].Partitions) == partitions/3 && h.count() == partitions-partitions/3
			})
			require.Equal(t, id[0].ID, owned[0].TopicID)
			for p := range int32(partitions) {
				if !slices.Contains(owned[0].Partitions, p) {
					write(t, store, "t", p, 1000+int(p)*each, each)
				}
			}
			until(t, func() bool { heartbeat(); return read() == partitions*each+(partitions-partitions/3)*each })
			for _, p := range owned[0].Partitions {
				write(t, store, "t", p, 1000+int(p)*each, each)
			}

			_, err = coordinator.ConsumerGroupHeartbeat(t.Context(), group.ConsumerHeartbeatRequest{Group: g.ID(), MemberID: "n", MemberEpoch: group.LeaveGroupEpoch})
			require.NoError(t, err)
			until(t, func() bool { return read() == 2*partitions*each && h.count() == partitions })
			cancel()
			wg.Wait()
			for value, n := range seen {
				require.Equal(t, 1, n, "%s was read %d times", value, n)
			}
		})
	}
}
