package replication

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// A voter that an operator has made an observer observes until AddVoter, whether it was up then or not, after restarts, and when its log of the quorum is lost and it
// comes back as a new member.
func TestAVoterThatWasRemovedDoesNotAddItselfAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		word := func(op string, node int32) {
			t.Helper()
			require.NoError(t, a.untilDone(t.Context(), membersRequest{Op: op, Node: node}))
		}
		out := func(p *part) {
			t.Helper()
			time.Sleep(30 * time.Second) // of the bubble: time enough to ask a hundred times
			ps.until("it takes part, without a vote", func() bool { return ps.voters() == 2 && ps.active() == 3 && !p.isolated() && p.withdrawn.Load() })
		}
		require.NoError(t, a.transferLeader(t.Context(), 0))
		word("demote", 1)
		out(b)
		b.kill()
		b = ps.start(1)
		out(b)
		b.kill()
		damage(t, b.fs, "/n/quorum/entries", 300)
		b = ps.start(1)
		out(b)
		require.True(t, b.said("rejoined"))
		word("promote", 1)
		ps.until("it votes, and knows it", func() bool { return ps.voters() == 3 && !b.withdrawn.Load() })
		for range 2 {
			b.kill()
			b = ps.start(1)
			ps.until("it is back", func() bool { return ps.voters() == 3 && ps.active() == 3 && !b.isolated() && !b.withdrawn.Load() })
		}

		c.kill()
		word("demote", 2)
		c = ps.start(2)
		out(c)
		c.kill()
		c = ps.start(2)
		out(c)
	})
}

// A node that was taken out as a whole while it was up votes again when it is started again with what it has: nobody has taken its vote.
func TestANodeThatWasRemovedAndComesBackVotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, _, c := ps.three()
		require.NoError(t, a.transferLeader(t.Context(), 0))
		for range 2 {
			time.Sleep(10 * time.Second) // of the bubble: it knows that it votes, and asks no more
			require.NoError(t, a.removeMember(t.Context(), 2))
			time.Sleep(10 * time.Second) // of the bubble: while it is up it stays out
			require.Equal(t, 2, ps.voters())
			c.kill()
			c = ps.start(2)
			ps.until("it votes again", func() bool { return ps.voters() == 3 && !c.isolated() && !c.withdrawn.Load() })
		}
		require.NoError(t, a.untilDone(t.Context(), membersRequest{Op: "demote", Node: 2}))
		ps.until("it hears of a vote that is taken", func() bool { return ps.voters() == 2 && c.withdrawn.Load() })
		require.NoError(t, a.removeMember(t.Context(), 2))
		time.Sleep(30 * time.Second) // of the bubble
		c.kill()
		c = ps.start(2)
		time.Sleep(30 * time.Second) // of the bubble
		ps.until("it is back without a vote", func() bool { return ps.voters() == 2 && ps.active() == 3 && !c.isolated() && c.withdrawn.Load() })
	})
}

// What was decided may reach a node in a snapshot alone.
func TestANodeHearsFromASnapshotThatItsVoteIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		require.NoError(t, a.transferLeader(t.Context(), 0))
		ps.until("the first leads", func() bool { leader, _ := c.leader(); return leader == 0 })
		c.kill()
		require.NoError(t, a.untilDone(t.Context(), membersRequest{Op: "demote", Node: 2}))
		// The log is gone with everything that the node had of it: an empty disk, but for the node's own file.
		c.fs = newDisk(t)
		*c.shared = sharedCatalogue{}
		self := ps.start(2)
		ps.until("it observes as another member", func() bool { return ps.active() == 3 && !self.isolated() })
		require.Equal(t, 3, ps.voters(), "it had not heard so before its log was lost, and asks")

		// The same member, of whose demotion the others have but a snapshot.
		self.kill()
		require.NoError(t, a.untilDone(t.Context(), membersRequest{Op: "demote", Node: 2}))
		for range 1100 { // more than the log keeps behind a snapshot
			_, err := a.tell("on")
			require.NoError(t, err)
		}
		for _, p := range []*part{a, b} {
			require.NoError(t, p.do(t.Context(), p.compact))
		}
		self = ps.start(2)
		ps.until("it has everything", func() bool { return len(self.shared.list()) == 1100 && ps.active() == 3 })
		time.Sleep(30 * time.Second) // of the bubble
		ps.until("it does not vote", func() bool { return ps.voters() == 2 && self.withdrawn.Load() })
	})
}

func newDisk(t *testing.T) *vfs.Mem {
	fs := vfs.NewCrashMem(vfs.Strict)
	require.NoError(t, fs.Mkdir("/n", 0o700))
	require.NoError(t, fs.SyncDir("/"))
	return fs
}
