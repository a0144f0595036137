package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

func TestNodesJoinVoteAndAgreeOnTheCatalogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		var want []string
		for i, p := range []*part{a, b, c, a, b, c} {
			text := fmt.Sprint("topic ", i)
			result, err := p.tell(text)
			require.NoError(t, err)
			require.Equal(t, control.OK, result.Code)
			require.NotNil(t, result.Catalogue)
			want = append(want, "9:"+text)
			require.Equal(t, want, p.shared.list(), "who proposed has applied it")
			ps.until("the others, too", func() bool {
				return len(a.shared.list()) == i+1 && len(b.shared.list()) == i+1 && len(c.shared.list()) == i+1
			})
		}
		require.Equal(t, want, a.shared.list())
		require.Equal(t, want, b.shared.list())
		require.Equal(t, want, c.shared.list())
		q, err := b.describe(t.Context())
		require.NoError(t, err)
		require.Len(t, q.Voters, 3)
		require.Empty(t, q.Observers)
		for _, m := range q.Voters {
			require.Equal(t, q.HighWatermark, m.LogEnd)
		}
		for _, p := range ps.all {
			require.Greater(t, p.controller.epoch(), int64(0))
			require.Equal(t, p.epoch, p.controller.epoch())
			ps.until("it is not isolated", func() bool { return !p.isolated() })
		}
	})
}

// Of two that propose against the same state one is told of the conflict.
func TestAChangeAgainstAnOldCatalogueIsAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, _ := ps.three()
		codes := make([]control.Code, 2)
		var both sync.WaitGroup
		expect := a.shared.AppliedShared()
		require.Equal(t, expect, b.shared.AppliedShared())
		for i, p := range []*part{a, b} {
			both.Go(func() {
				result, err := p.propose(context.Background(), control.Catalogue{Event: control.Event{Expect: expect, Kind: 9, Payload: []byte{byte('0' + i)}}})
				if err == nil {
					codes[i] = result.Code
				}
			})
		}
		both.Wait()
		require.ElementsMatch(t, []control.Code{control.OK, control.Conflict}, codes)
	})
}

func TestTheControllerMovesWhenItsNodeDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		_, err := b.tell("before")
		require.NoError(t, err)
		a.kill()
		// A proposal made at once is answered by the next controller.
		result, err := b.tell("after")
		require.NoError(t, err)
		require.Equal(t, control.OK, result.Code)
		ps.until("the third has it", func() bool { return len(c.shared.list()) == 2 })
		ps.until("the dead one is fenced", func() bool { return ps.active() == 2 })
		before := a.epoch
		a = ps.start(0)
		ps.until("it is back", func() bool { return ps.active() == 3 && len(a.shared.list()) == 2 })
		require.Greater(t, a.epoch, before, "another process, another epoch")
		require.Equal(t, b.shared.list(), a.shared.list())
	})
}

func TestWithoutAMajorityNothingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		b.kill()
		c.kill()
		_, err := a.tell("never")
		require.ErrorIs(t, err, ErrNoQuorum)
		ps.until("it is isolated", func() bool { return a.isolated() })
		ps.until("it says so", func() bool { return a.said("fenced true") })
		require.Empty(t, a.shared.list())
		leader, _ := a.leader()
		require.EqualValues(t, -1, leader)
		b = ps.start(1)
		ps.until("there is a leader again", func() bool { leader, _ := a.leader(); return leader != -1 && !a.isolated() })
		// What was proposed without a majority may come all the same, now that there is one: then the first attempt is a conflict.
		var result control.Result
		for range 2 {
			if result, err = a.tell("again"); err == nil && result.Code == control.OK {
				break
			}
		}
		require.NoError(t, err)
		require.Equal(t, control.OK, result.Code)
		ps.until("both have it", func() bool { list := b.shared.list(); return len(list) > 0 && list[len(list)-1] == "9:again" })
	})
}

// A leader that is cut off does not know that another leads. It stops to call itself reached before its session is over at the other.
func TestALeaderThatIsCutOffIsolatesItselfBeforeOthersFenceIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		require.NoError(t, a.transferLeader(t.Context(), 0))
		ps.until("a leads", func() bool { leader, _ := b.leader(); return leader == 0 })
		ps.mu.Lock()
		for _, p := range []*part{b, c} {
			ps.cut[[2]int32{a.id, p.id}], ps.cut[[2]int32{p.id, a.id}] = true, true
		}
		ps.mu.Unlock()
		fenced := func() (is bool) {
			b.read(func(m *control.Machine) {
				n, _ := m.Node(0)
				is = n.Fenced
			})
			return is
		}
		for range 2000 {
			synctest.Wait()
			if fenced() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.True(t, fenced())
		require.True(t, a.isolated())
		ps.mu.Lock()
		clear(ps.cut)
		ps.mu.Unlock()
		ps.until("it is back", func() bool { return !a.isolated() && !fenced() })
	})
}

func TestControlledShutdownEndsBeforeItsNodeIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, _ := ps.three()
		require.NoError(t, a.transferLeader(t.Context(), 0))
		ps.until("a leads", func() bool { leader, _ := b.leader(); return leader == 0 })
		began := time.Now()
		require.NoError(t, a.close(true))
		require.Less(t, time.Since(began), testSession)
		a.parts.mu.Lock()
		a.running = false
		a.parts.mu.Unlock()
		a.run.Wait()
		ps.until("another leads", func() bool { leader, _ := b.leader(); return leader > 0 })
		b.read(func(m *control.Machine) {
			n, _ := m.Node(0)
			require.True(t, n.Fenced)
		})
		_, err := a.tell("closed")
		require.ErrorIs(t, err, ErrClosed)
	})
}

// A follower that is far behind, and a new one, begin with a snapshot; nothing is applied twice, and the store's catalogue is whole.
func TestANodeFarBehindBeginsWithASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		c.kill()
		for i := range 30 {
			_, err := b.tell(fmt.Sprint(i))
			require.NoError(t, err)
		}
		for _, p := range []*part{a, b} {
			require.NoError(t, p.do(t.Context(), func() {
				for range 1500 { // beyond what the log keeps for those that are behind
					p.compacted = 0
				}
				p.compact()
			}))
		}
		d := ps.start(7, func(c *Config) { c.Observer = true })
		ps.until("all are there", func() bool { return len(d.shared.list()) == 30 })
		require.Positive(t, d.resets)
		c = ps.start(2)
		ps.until("the old one, too", func() bool { return len(c.shared.list()) == 30 && ps.active() == 4 })
		require.Equal(t, a.shared.list(), d.shared.list())
		require.Equal(t, a.shared.list(), c.shared.list())
		require.Equal(t, 3, ps.voters())
	})
}

func TestADamagedQuorumLogIsReplacedWithoutAHuman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		_, b, c := ps.three()
		_, err := b.tell("one")
		require.NoError(t, err)
		c.kill()
		damage(t, c.fs, "/n/quorum/entries", 300)
		c = ps.start(2)
		ps.until("it votes again", func() bool { return ps.voters() == 3 && ps.active() == 3 && len(c.shared.list()) == 1 })
		require.True(t, c.said("rejoined"))
		q, err := c.describe(t.Context())
		require.NoError(t, err)
		require.Len(t, q.Voters, 3, "the lost one is gone")
	})
}

// A directory that was put back from a copy looks whole. The node ends when the leader knows better, and comes back as a new member.
func TestAnOldCopyOfTheQuorumIsReplacedWithoutAHuman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		_, b, c := ps.three()
		old := c.fs.KillClone()
		for i := range 5 {
			_, err := b.tell(fmt.Sprint(i))
			require.NoError(t, err)
		}
		ps.until("all have it", func() bool { return len(c.shared.list()) == 5 })
		c.kill()
		c.fs = old
		*c.shared = sharedCatalogue{}
		c = ps.start(2)
		ps.until("it ends", func() bool { return c.controller.failure() != nil })
		require.ErrorIs(t, c.controller.failure(), quorum.ErrLogLost)
		c.kill()
		c = ps.start(2)
		ps.until("it votes again", func() bool { return ps.voters() == 3 && ps.active() == 3 && len(c.shared.list()) == 5 })
		require.True(t, c.said("rejoined"))
	})
}

func damage(t *testing.T, fs vfs.FS, path string, at int64) {
	file, err := fs.OpenFile(path, 2, 0)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte{0xff, 0xfe, 0xfd}, at)
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	require.NoError(t, file.Close())
}

// Two processes of one node: the second is told, and gives up when the first does not end.
func TestASecondProcessOfANodeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, _ := ps.three()
		result, err := b.propose(t.Context(), control.Register{
			ID: 0, Incarnation: [16]byte{99}, Addr: "elsewhere", MinFeature: 1, MaxFeature: control.MaxLevel, PreviousEpoch: control.NoEpoch, Replaces: control.NoEpoch,
		})
		require.NoError(t, err)
		require.Equal(t, control.DuplicateBrokerRegistration, result.Code)
		a.kill()
		ps.until("its session is over", func() bool { return ps.active() == 2 })
		result, err = b.propose(t.Context(), control.Register{
			ID: 0, Incarnation: [16]byte{99}, Addr: "elsewhere", MinFeature: 1, MaxFeature: control.MaxLevel, PreviousEpoch: control.NoEpoch, Replaces: control.NoEpoch,
		})
		require.NoError(t, err)
		require.Equal(t, control.OK, result.Code)
	})
}

// What the store cannot take ends the node, and not the others; nobody has been told that it was applied there.
func TestAStoreThatFailsEndsItsNodeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		c.shared.mu.Lock()
		c.shared.full = errors.New("input/output error")
		c.shared.mu.Unlock()
		_, err := a.tell("one")
		require.NoError(t, err)
		ps.until("it has failed", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.failure != nil })
		require.ErrorContains(t, c.failure, "input/output")
		require.True(t, c.isolated())
		c.kill()
		_, err = b.tell("two")
		require.NoError(t, err)
		require.Empty(t, c.shared.list())
		c.shared.full = nil
		c.failure = nil
		c = ps.start(2)
		ps.until("it catches up", func() bool { return len(c.shared.list()) == 2 })
		require.Equal(t, a.shared.list(), c.shared.list())
	})
}

// Without room the store takes nothing, and the node nothing more from the quorum; the others go on, and it catches up when there is room.
func TestAFullStoreHoldsItsNodeUntilThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		require.NoError(t, a.transferLeader(t.Context(), 0))
		ps.until("another leads", func() bool { leader, _ := c.leader(); return leader == 0 })
		full := func(err error) {
			c.shared.mu.Lock()
			defer c.shared.mu.Unlock()
			c.shared.full = err
		}
		full(partition.ErrNoSpace)
		for i := range 3 {
			_, err := a.tell(fmt.Sprint(i))
			require.NoError(t, err)
		}
		ps.until("it is missed", func() bool { return ps.active() == 2 && c.isolated() })
		require.Empty(t, c.shared.list())
		require.NoError(t, c.controller.failure())
		full(nil)
		ps.until("it is back", func() bool { return ps.active() == 3 && !c.isolated() })
		require.Equal(t, b.shared.list(), c.shared.list())
		seen := map[uint64]bool{}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, r := range c.results {
			require.False(t, seen[r.Index], "told twice of %d", r.Index)
			seen[r.Index] = true
		}
	})
}

func TestAMemberCanBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, _ := ps.three()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.NoError(t, b.removeMember(ctx, 0))
		ps.until("two vote", func() bool { return ps.voters() == 2 })
		leader, _ := b.leader()
		require.NotEqual(t, a.id, leader)
		_, err := b.tell("by the two")
		require.NoError(t, err)
	})
}

// Nobody can take over: the node does not wait for CloseTimeout.
func TestAControlledShutdownWithoutAMajorityGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		b.kill()
		c.kill()
		ps.until("no leader is known", func() bool { leader, _ := a.leader(); return leader == -1 })
		began := time.Now()
		require.NoError(t, a.close(true))
		require.Less(t, time.Since(began), a.config.CloseTimeout)
	})
}

// The majority is lost for good. One is made the only voter; another joins it anew.
func TestASurvivorIsMadeTheOnlyVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		_, b, c := ps.three()
		_, err := b.tell("before")
		require.NoError(t, err)
		ps.until("all have it", func() bool { return len(c.shared.list()) == 1 })
		for _, p := range ps.all {
			p.kill()
		}
		// Its directory is /n, as a node's.
		plan, err := PlanQuorumRecovery(c.fs, "/n")
		require.NoError(t, err)
		require.ElementsMatch(t, []int32{0, 1}, plan.Lost)
		_, err = RecoverQuorum(c.fs, "/n", "yes")
		require.ErrorIs(t, err, ErrConfirmation)
		_, err = RecoverQuorum(c.fs, "/n", plan.Confirmation)
		require.NoError(t, err)
		c = ps.start(2)
		ps.until("it leads, alone", func() bool { leader, _ := c.leader(); return leader == 2 && ps.voters() == 1 && ps.active() == 1 })
		result, err := c.tell("after")
		require.NoError(t, err)
		require.Equal(t, control.OK, result.Code)
		require.NoError(t, b.fs.RemoveAll("/n/quorum"))
		b = ps.start(1)
		ps.until("it has joined", func() bool { return ps.voters() == 2 && len(b.shared.list()) == 2 })

		var all, some bytes.Buffer
		require.NoError(t, DumpQuorum(&all, "/n", DumpQuorumOptions{FS: c.fs}))
		require.NoError(t, DumpQuorum(&some, "/n", DumpQuorumOptions{FS: c.fs, Contains: "Register node 1"}))
		for _, want := range []string{"Catalogue catalogue kind 9", "Register node 2", "Unfence node 2", "  state applied", "  state node "} {
			require.Contains(t, all.String(), want)
		}
		require.Contains(t, some.String(), "Register node 1")
		require.NotContains(t, some.String(), "Catalogue catalogue")
		_, err = PlanQuorumRecovery(c.fs, "/nowhere")
		require.ErrorIs(t, err, ErrNotFormatted)
	})
}

// Whatever a command is, the dump has words for it.
func TestEveryCommandHasWords(t *testing.T) {
	for _, command := range []control.Command{
		control.Register{ID: 7}, control.Unregister{ID: 7}, control.Fence{Node: 7}, control.Unfence{Node: 7}, control.BeginShutdown{Node: 7},
		control.AlterPartitions{Node: 7, Partitions: []control.AlterPartition{{ISR: []control.Member{{Node: 8}}}}},
		control.OfflineReplicas{Node: 7}, control.OnlineReplicas{Node: 7}, control.Resign{Node: 7},
		control.CreateTopic{Name: "7", Event: control.Event{Kind: 1}}, control.DeleteTopic{ID: control.TopicID{7}}, control.GrowTopic{From: 7},
		control.ConfigureTopic{Config: control.TopicConfig{MinISR: 7}}, control.ConfigureCluster{Config: control.ClusterConfig{MinISR: 7}},
		control.Catalogue{Event: control.Event{Kind: 7}}, control.Reassign{Partitions: []control.Reassignment{{Target: []control.NodeID{7}}}},
		control.Elect{Partitions: make([]control.PartitionID, 7)}, control.SetFeature{Level: 7},
	} {
		words := describeEntry(encodeProposal(3, 1, 2, command))
		require.Contains(t, words, "by 3: ")
		require.Contains(t, words, "7")
	}
	require.Equal(t, "a leader's first", describeEntry(nil))
	require.Contains(t, describeEntry([]byte{9}), "malformed")
	require.Contains(t, describeState([]byte{9})[0], "malformed")
}

func TestProposalsAreWhatTheyWere(t *testing.T) {
	b := encodeProposal(7, 1<<63, 300, control.SetFeature{Level: 2})
	node, nonce, seq, command, err := decodeProposal(b)
	require.NoError(t, err)
	require.EqualValues(t, 7, node)
	require.EqualValues(t, uint64(1)<<63, nonce)
	require.EqualValues(t, 300, seq)
	require.Equal(t, control.SetFeature{Level: 2}, command)
	for n := range len(b) - 1 {
		_, _, _, _, err := decodeProposal(b[:n])
		require.Error(t, err, "%d bytes", n)
	}
	_, _, err = decodeState([]byte{2})
	require.Error(t, err)
	shared := &sharedCatalogue{Index: 3, Entries: []string{"a"}}
	m := control.Bootstrap(control.Node{ID: 1}, control.ClusterConfig{}, nil)
	state := encodeState(m, shared)
	again, rest, err := decodeState(state)
	require.NoError(t, err)
	require.Equal(t, m.Snapshot(), again.Snapshot())
	require.Equal(t, `["a"]`, string(rest))
	for n := range len(state) - len(rest) - 1 {
		_, _, err := decodeState(state[:n])
		require.Error(t, err)
	}
	require.ErrorIs(t, noSpaceOr(quorum.ErrFailed), quorum.ErrFailed)
}
