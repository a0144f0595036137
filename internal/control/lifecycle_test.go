package control

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// life is a Lifecycle at a controller; each request is answered at once unless the line is cut.
type life struct {
	*Lifecycle
	h       *hall
	id      NodeID
	process byte
	cut     bool
}

func (h *hall) life(id NodeID, process byte) *life {
	l := &life{Lifecycle: NewLifecycle(LifecycleConfig{}, id), h: h, id: id, process: process}
	l.Start(h.now)
	return l
}

// step does what the node has to do now, and reports whether there was anything.
func (l *life) step() bool {
	l.Applied(l.h.now, l.h.index)
	switch act := l.Poll(l.h.now); {
	case act == ActNothing:
		return false
	case l.cut:
		l.Lost(l.h.now)
	case act == ActRegister:
		r := l.h.register(l.id, l.process)
		l.Registered(l.h.now, r.Code, r.Epoch)
	case act == ActHeartbeat:
		a, cs := l.h.w.Heartbeat(l.h.now, l.Heartbeat())
		for _, c := range cs {
			l.h.apply(c)
		}
		l.Answered(l.h.now, a)
	}
	return true
}

// run goes through all that is due for so long, of all lives and the controller.
func (h *hall) run(d time.Duration, lives ...*life) {
	for end := h.now + d; h.now < end; {
		for again := true; again; {
			again = len(h.tick()) > 0
			for _, l := range lives {
				again = l.step() || again
			}
		}
		next := end
		if at, ok := h.w.Deadline(h.now); ok {
			next = min(next, at)
		}
		for _, l := range lives {
			if at, ok := l.Deadline(); ok {
				next = min(next, at)
			}
		}
		h.now = max(next, h.now+time.Millisecond)
	}
}

func TestNodeBecomesActiveWhenItIsReady(t *testing.T) {
	h := newHall(t, WatchConfig{})
	l := h.life(1, 1)
	require.Equal(t, StageRegistering, l.Stage())
	require.Equal(t, NoEpoch, l.Epoch())
	require.True(t, l.Isolated(h.now))
	h.run(10*time.Second, l)
	require.Equal(t, StageFenced, l.Stage())
	require.True(t, h.fenced(1))
	l.Ready(h.now)
	h.run(time.Second, l)
	require.Equal(t, StageActive, l.Stage())
	require.False(t, h.fenced(1))
	require.False(t, l.Isolated(h.now))
	h.run(10*time.Minute, l)
	require.Equal(t, StageActive, l.Stage())
	require.Equal(t, h.node(1).Epoch, l.Epoch())
}

// The node itself knows first that its session is over, wherever the silence began.
func TestNodeIsolatesItselfNoLaterThanItIsFenced(t *testing.T) {
	for wait := 10 * time.Second; wait < 13*time.Second; wait += 300 * time.Millisecond {
		h := newHall(t, WatchConfig{})
		l := h.life(1, 1)
		l.Ready(h.now)
		h.run(wait, l)
		l.cut = true
		for !h.fenced(1) {
			require.Less(t, h.now, time.Hour+time.Minute)
			isolated := l.Isolated(h.now)
			h.tick()
			require.True(t, isolated || !h.fenced(1), "fenced and not isolated")
			l.step()
			h.now += 50 * time.Millisecond
		}
		require.True(t, l.Isolated(h.now))
		l.cut = false
		h.run(5*time.Second, l)
		require.Equal(t, StageActive, l.Stage(), "the session goes on in the same epoch")
		require.False(t, l.Isolated(h.now))
	}
}

func TestNodeShutsDownWhenItMay(t *testing.T) {
	h := newHall(t, WatchConfig{})
	a, b := h.life(1, 1), h.life(2, 2)
	a.Ready(h.now)
	b.Ready(h.now)
	h.run(10*time.Second, a, b)
	require.Equal(t, OK, h.apply(CreateTopic{ID: topicID("t"), Name: "t", Assignment: [][]NodeID{{1, 2}}}).Code)
	a.Shutdown(h.now)
	require.Equal(t, StageShuttingDown, a.Stage())
	h.run(5*time.Second, a, b)
	require.Equal(t, StageDone, a.Stage())
	require.Equal(t, 1, h.m.Leads(2))
	require.Equal(t, ActNothing, a.Poll(h.now))
	_, ok := a.Deadline()
	require.False(t, ok)
	again := h.life(1, 3)
	again.Ready(h.now)
	h.run(time.Second, again, b)
	require.Equal(t, StageActive, again.Stage())
}

func TestNodeThatNeverRegisteredShutsDownAtOnce(t *testing.T) {
	h := newHall(t, WatchConfig{})
	l := h.life(1, 1)
	l.Shutdown(h.now)
	require.Equal(t, StageDone, l.Stage())
}

func TestSecondProcessWaitsAndThenGivesUp(t *testing.T) {
	h := newHall(t, WatchConfig{})
	first, second := h.life(1, 1), h.life(1, 2)
	first.Ready(h.now)
	h.run(59*time.Second, first, second)
	require.Equal(t, StageRegistering, second.Stage())
	h.run(2*time.Second, first, second)
	require.Equal(t, StageFailed, second.Stage())
	require.Equal(t, DuplicateBrokerRegistration, second.Failure())
	require.Equal(t, StageActive, first.Stage())
}

func TestSecondProcessTakesOverWhenTheFirstIsSilent(t *testing.T) {
	h := newHall(t, WatchConfig{})
	first, second := h.life(1, 1), h.life(1, 2)
	first.Ready(h.now)
	second.Ready(h.now)
	h.run(5*time.Second, first)
	first.cut = true
	h.run(20*time.Second, first, second)
	require.Equal(t, StageActive, second.Stage())
	first.cut = false
	h.run(70*time.Second, first, second)
	require.Equal(t, StageFailed, first.Stage(), "it found its epoch stale, asked for another, and was refused for too long")
	require.Equal(t, StageActive, second.Stage())
}

func TestUnregisteredNodeStops(t *testing.T) {
	h := newHall(t, WatchConfig{})
	l := h.life(1, 1)
	l.Ready(h.now)
	h.run(5*time.Second, l)
	h.apply(Unregister{1})
	h.run(5*time.Second, l)
	require.Equal(t, StageFailed, l.Stage())
	require.Equal(t, BrokerIDNotRegistered, l.Failure())
}

func TestNodeThatIsRefusedStops(t *testing.T) {
	h := newHall(t, WatchConfig{})
	l := h.life(1, 1)
	require.Equal(t, ActRegister, l.Poll(h.now))
	require.Equal(t, ActNothing, l.Poll(h.now), "one request at a time")
	l.Registered(h.now, UnsupportedVersion, 0)
	require.Equal(t, StageFailed, l.Stage())
	require.Equal(t, UnsupportedVersion, l.Failure())
}

// Without an answer, or with one of a node that is no controller, the request is repeated.
func TestRequestsAreRepeated(t *testing.T) {
	h := newHall(t, WatchConfig{})
	l := h.life(1, 1)
	require.Equal(t, ActRegister, l.Poll(h.now))
	h.now += 2*time.Second - 1
	require.Equal(t, ActNothing, l.Poll(h.now))
	h.now++
	require.Equal(t, ActNothing, l.Poll(h.now), "it is given up, and tried again soon")
	h.now += time.Second
	require.Equal(t, ActRegister, l.Poll(h.now))
	l.Registered(h.now, NotController, 0)
	h.now += time.Second
	require.Equal(t, ActRegister, l.Poll(h.now))
	l.Registered(h.now, OK, 7)
	require.Equal(t, int64(7), l.Epoch())
	require.Equal(t, ActHeartbeat, l.Poll(h.now))
	l.Answered(h.now, HeartbeatAnswer{Code: NotController})
	require.Equal(t, StageFenced, l.Stage())
	h.now += time.Second
	require.Equal(t, ActHeartbeat, l.Poll(h.now))
	l.Answered(h.now, HeartbeatAnswer{Fenced: true})
	l.Answered(h.now, HeartbeatAnswer{}) // an answer that nobody waits for
	require.Equal(t, StageFenced, l.Stage())
}
