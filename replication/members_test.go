package replication

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
)

// stalls has calls that match wait until their context ends.
func (ps *parts) stalls(matches func(from, to int32, body []byte) bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.calling = func(ctx context.Context, from, to int32, body []byte) error {
		if matches(from, to, body) {
			<-ctx.Done()
			return ctx.Err()
		}
		return ctx.Err()
	}
}

// A server that takes connections and says nothing does not keep a node from telling the others where it is, nor does a node.
func TestAServerThatHangsDoesNotKeepOthersFromHearing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a := ps.start(0, func(c *Config) { c.Servers = []string{"hangs"} })
		ps.until("it leads", func() bool { return ps.active() == 1 })
		var told, tried atomic.Int32
		ps.stalls(func(from, to int32, body []byte) bool {
			switch {
			case from != 0 || to >= 0 && !bytes.Contains(body, []byte(`"hello"`)):
				return false
			case to == 2:
				told.Add(1)
				return false
			}
			tried.Add(1)
			return true
		})
		began := time.Now()
		require.NoError(t, a.do(t.Context(), a.hello))
		ps.until("the last of its peers hears of it", func() bool { return told.Load() > 0 })
		require.Less(t, time.Since(began), a.config.ElectionTimeout, "of the bubble's clock")
		ps.until("both that hang were tried", func() bool { return tried.Load() == 2 })
	})
}

// Who is asked for the leader of the quorum may hang, and so may the leader: another attempt follows, and another is asked first.
func TestANodeThatHangsDoesNotHoldAChangeOfTheQuorumUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, _ := ps.three()
		require.NoError(t, a.transferLeader(t.Context(), 0))
		ps.until("the first leads", func() bool { leader, _ := b.leader(); return leader == 0 })
		var stalled atomic.Int32
		ps.stalls(func(from, _ int32, body []byte) bool {
			return from == 1 && bytes.Contains(body, []byte(`"demote"`)) && stalled.Add(1) == 1
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, b.untilDone(ctx, membersRequest{Op: "demote", Node: 2}))
		require.Greater(t, stalled.Load(), int32(1))
	})
}

// An operation whose time is over says why, what it was and what it waited for.
func TestAChangeOfTheQuorumThatIsLateSaysWhatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newParts(t)
		a, b, c := ps.three()
		require.NoError(t, a.transferLeader(t.Context(), 0))
		b.kill()
		c.kill()
		ctx, cancel := context.WithCancelCause(t.Context())
		defer time.AfterFunc(time.Minute, func() { cancel(errRequestTimeout) }).Stop()
		err := a.untilDone(ctx, membersRequest{Op: "demote", Node: 1})
		require.ErrorIs(t, err, partition.ErrTimeout)
		require.NotErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ErrNoQuorum)
		require.ErrorContains(t, err, "make node 1 an observer: ")
	})
}
