package group

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// Members come, commit, rebalance and go in several groups at once. Whatever happens, no partition has two owners in
// one generation, a member's own commits are what it reads back while it owns the partition, and a second coordinator
// that has only the log agrees with the first at the end.
func TestMembersComingAndGoingNeverShareAPartition(t *testing.T) {
	store := newStore(t, "orders")
	b := newBackend(store)
	type claim struct {
		group      string
		generation Generation
		partition.TopicPartition
	}
	var mu sync.Mutex // guards owners
	owners := make(map[claim]string)
	var wg sync.WaitGroup
	for g := range 3 {
		group, _ := openGroup(t, b, fmt.Sprint("group-", g), Config{})
		for m := range 4 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), uint64(m)))
				for range 15 {
					member := newClient(t, group, "orders")
					for range rng.IntN(4) {
						if err := member.enter(t.Context()); err != nil {
							t.Errorf("enter: %v", err)
							return
						}
						mu.Lock()
						for _, owned := range member.assigned {
							c := claim{group.ID(), member.joined.Generation, owned}
							if other := owners[c]; other != "" && other != member.joined.MemberID {
								t.Errorf("%v has two owners: %s and %s", c, other, member.joined.MemberID)
							}
							owners[c] = member.joined.MemberID
						}
						mu.Unlock()
						for _, owned := range member.assigned {
							err := member.commit(t.Context(), owned, partition.Offset(rng.IntN(1000)))
							if err != nil && !rejoins(err) {
								t.Errorf("commit: %v", err)
							}
						}
					}
					if member.joined.MemberID != "" {
						if err := member.c.Leave(t.Context(), group.ID(), LeavingMember{MemberID: member.joined.MemberID}); err != nil {
							t.Errorf("leave: %v", err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for g := range 3 {
		id := fmt.Sprint("group-", g)
		group, _ := openGroup(t, b, id, Config{})
		want, err := group.Committed(t.Context())
		require.NoError(t, err)
		d, err := group.Describe(t.Context())
		require.NoError(t, err)
		require.Equal(t, Empty, d.State)
		require.NotEmpty(t, want)

		next, _ := openGroup(t, newBackend(store), id, Config{})
		got, err := next.Committed(t.Context())
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for tp, o := range want {
			require.Equal(t, o.Offset, got[tp].Offset, tp)
		}
	}
}
