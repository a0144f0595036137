package group

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// fingerprintOf says what a group is, as far as it does not depend on who has its process.
func fingerprintOf(ctx context.Context, c Coordinator, group string) (string, error) {
	d, err := c.ConsumerGroupDescribe(ctx, group)
	if errors.Is(err, ErrGroupIDNotFound) {
		classic, err := c.Describe(ctx, group)
		if err != nil {
			return "", err
		}
		var out strings.Builder
		fmt.Fprintf(&out, "classic, %s at %d", classic.State, classic.Generation)
		for _, m := range classic.Members {
			fmt.Fprintf(&out, ", %s has %x", m.MemberID, m.Assignment)
		}
		return out.String(), nil
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s, epoch %d, assigned at %d by %s", d.State, d.Epoch, d.AssignmentEpoch, d.Assignor)
	for _, m := range d.Members {
		fmt.Fprintf(&out, ", %+v", m)
	}
	return out.String(), err
}

// fingerprintAfter opens a disk as another process finds it.
func fingerprintAfter(m *vfs.Mem, group string) (_ string, err error) {
	store, err := partition.Open("/s", partition.Config{FS: m})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	coordinators, err := Start(store, CoordinatorConfig{Clock: clock.NewManual(time.Unix(2e9, 0))})
	if err != nil {
		return "", err
	}
	c, err := coordinators.Find(context.Background(), group)
	if err != nil {
		return "", err
	}
	f, err := fingerprintOf(context.Background(), c, group)
	if stats := coordinators.Stats(); err == nil && stats.CorruptRanges+stats.SkippedRecords > 0 {
		err = fmt.Errorf("%d corrupt ranges, %d records skipped", stats.CorruptRanges, stats.SkippedRecords)
	}
	return f, err
}

// scripted is a member of the new protocol that does as it is told by the test and by the coordinator.
type scripted struct {
	c     Coordinator
	r     ConsumerHeartbeatRequest
	owned []TopicIDPartitions
}

func newScripted(c Coordinator, group, id string, topics ...string) *scripted {
	return &scripted{c: c, r: ConsumerHeartbeatRequest{
		Group: group, MemberID: id, ClientID: "scripted", ClientHost: "/127.0.0.1", RebalanceTimeout: time.Minute, Topics: topics,
	}}
}

// heartbeat says where the member is, and takes over what it is told.
func (m *scripted) heartbeat(ctx context.Context) error {
	r := m.r
	r.Owned = slices.Clone(m.owned)
	if r.MemberEpoch == JoinGroupEpoch {
		r.Owned = []TopicIDPartitions{}
	} else {
		r.Topics, r.Regex, r.RebalanceTimeout = nil, nil, 0
	}
	result, err := m.c.ConsumerGroupHeartbeat(ctx, r)
	if errors.Is(err, ErrFencedMemberEpoch) || errors.Is(err, ErrUnknownMemberID) {
		m.owned, m.r.MemberEpoch = nil, JoinGroupEpoch
	}
	if err != nil {
		return err
	}
	m.r.MemberEpoch = result.MemberEpoch
	if result.Assignment != nil {
		m.owned = result.Assignment
	}
	return nil
}

func (m *scripted) leave(ctx context.Context, epoch MemberEpoch) error {
	r := ConsumerHeartbeatRequest{Group: m.r.Group, MemberID: m.r.MemberID, InstanceID: m.r.InstanceID, MemberEpoch: epoch}
	_, err := m.c.ConsumerGroupHeartbeat(ctx, r)
	m.owned, m.r.MemberEpoch = nil, JoinGroupEpoch
	return err
}

// TestConsumerGroupsChangeWhollyOrNotAtAllInAnyCrash changes a consumer group in all ways, also into a classic one and
// back, on a disk that remembers what has been synced. Before every operation that changes the disk, it is taken as a kill
// and as losses of power may leave it, and opened: the group is as it was before the change, or as it is after it, never in
// between; and what was acknowledged is there. PARTLOG_SOAK=<duration> goes on for so long.
func TestConsumerGroupsChangeWhollyOrNotAtAllInAnyCrash(t *testing.T) {
	seeds, steps, each := uint64(8), 60, 3
	if testing.Short() {
		seeds, steps, each = 2, 20, 2
	}
	distinct := make(map[uint64]bool)
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	began := time.Now()
	for seed := uint64(0); seed < seeds || time.Since(began) < soak; seed++ {
		mem := vfs.NewCrashMem([]vfs.Profile{vfs.Strict, vfs.Ext4Like}[seed%2])
		disk := vfs.NewFault(mem)
		store, err := partition.Open("/s", partition.Config{FS: disk})
		require.NoError(t, err)
		createTopics(t, store, "orders", "more")
		_, c := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: clock.NewManual(time.Unix(1.7e9, 0))}})

		var mu sync.Mutex // guards seen; one operation at a time is looked at
		seen := make(map[string]string)
		disk.OnOp(func(op vfs.Op) {
			mu.Lock()
			defer mu.Unlock()
			visit := func(m *vfs.Mem, label string) bool {
				if hash := m.Hash(); !distinct[hash] {
					distinct[hash] = true
					f, err := fingerprintAfter(m, "billing")
					if err != nil {
						f = err.Error()
					}
					if seen[f] == "" {
						seen[f] = fmt.Sprintf("before %s, %s", op, label)
					}
				}
				return true
			}
			visit(mem.KillClone(), "killed")
			mem.EachCrash(each, visit)
		})
		s := &consumerScript{t: t, c: c, rng: rand.New(rand.NewPCG(seed, 3)), next: make(map[string]*scripted), classic: make(map[string]*client)}
		before, err := fingerprintAfter(mem.KillClone(), "billing")
		require.NoError(t, err)
		for range steps {
			what, between := s.step()
			mu.Lock()
			after, err := fingerprintAfter(mem.KillClone(), "billing")
			require.NoError(t, err)
			lost, err := fingerprintAfter(mem.CrashClone(s.rng), "billing")
			require.NoError(t, err)
			require.Equal(t, after, lost, "seed %d, %s: acknowledged and lost", seed, what)
			if now, err := fingerprintOf(t.Context(), c, "billing"); err == nil && !strings.HasPrefix(now, "classic") {
				require.Equal(t, now, after, "seed %d, %s: the log has something else", seed, what)
			}
			for f, when := range seen {
				require.True(t, f == before || f == after || between && strings.HasPrefix(f, "classic"), "seed %d, %s, %s:\n%s\nbefore\n%s\nafter\n%s", seed, what, when, f, before, after)
			}
			clear(seen)
			before = after
			mu.Unlock()
		}
		disk.OnOp(nil)
		require.NoError(t, store.Close())
	}
	t.Logf("crash states: %d distinct, 0 lost", len(distinct))
}

// consumerScript does something to a group with members of both protocols, one thing at a time.
type consumerScript struct {
	t       *testing.T
	c       Coordinator
	rng     *rand.Rand
	next    map[string]*scripted
	classic map[string]*client
}

// step says what it has done, and whether that was more than one change.
func (s *consumerScript) step() (what string, between bool) {
	ctx := s.t.Context()
	id := fmt.Sprint("n", s.rng.IntN(4))
	m := s.next[id]
	switch k := s.rng.IntN(20); {
	case m == nil && k < 8:
		m = newScripted(s.c, "billing", id, [][]string{{"orders"}, {"more"}, {"more", "orders"}}[s.rng.IntN(3)]...)
		if s.rng.IntN(3) == 0 {
			regex := "or.*|mo.*"
			m.r.Regex = &regex
		}
		if s.rng.IntN(3) == 0 {
			m.r.InstanceID = "i" + id
		}
		if err := m.heartbeat(ctx); err == nil {
			s.next[id] = m
		}
		return id + " joins", false
	case m != nil && k < 13:
		_ = m.heartbeat(ctx)
		return id + " goes on", false
	case m != nil && k < 15:
		epoch := LeaveGroupEpoch
		if m.r.InstanceID != "" && k == 14 {
			epoch = LeaveGroupStaticEpoch
		}
		_ = m.leave(ctx, epoch)
		delete(s.next, id)
		return id + " leaves", false
	case k < 18:
		id = fmt.Sprint("c", s.rng.IntN(2))
		m := s.classic[id]
		if m == nil {
			g, _ := openGroup(s.t, s.c.(*coordinator).backend, "billing", Config{})
			m = newClient(s.t, g, "orders")
			m.request = func(r *JoinRequest) { r.Local, r.ClientHost = false, "/127.0.0.1" }
			s.classic[id] = m
		}
		// Others of the classic group would have to join as well: only one of them is there then.
		ctx, cancel := context.WithCancel(ctx)
		go func() { // gives up when nothing moves any more
			for range 100000 {
				if ctx.Err() != nil {
					return
				}
				_, _ = s.c.Describe(ctx, "billing")
			}
			cancel()
		}()
		err := m.join(ctx)
		if err == nil {
			err = m.sync(ctx)
		}
		cancel()
		if err != nil {
			m.joined = JoinResult{}
		}
		return id + " joins", true
	case k < 19:
		for id, m := range s.classic {
			if m.joined.MemberID != "" {
				_ = s.c.Leave(ctx, "billing", LeavingMember{MemberID: m.joined.MemberID})
			}
			delete(s.classic, id)
			break
		}
		return "a classic member leaves", false
	default:
		_ = s.c.DeleteGroups(ctx, "billing")
		return "delete", false
	}
}
