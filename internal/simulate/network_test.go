package simulate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/simulate"
)

// world is two stations, of which the second notes what it receives.
type world struct {
	sched    *simulate.Scheduler
	net      *simulate.Network
	counts   simulate.Counts
	a, b     *simulate.Process
	received []simulate.Message
	back     []simulate.Message
}

func newWorld(seed uint64, w simulate.Weather) *world {
	x := &world{sched: simulate.NewScheduler(seed)}
	x.net = simulate.NewNetwork(x.sched, seed, w, &x.counts)
	x.a, x.b = simulate.NewProcess(x.sched), simulate.NewProcess(x.sched)
	x.net.Add(x.a, func(m simulate.Message) { x.back = append(x.back, m) })
	x.net.Add(x.b, func(m simulate.Message) { x.received = append(x.received, m) })
	x.a.Start()
	x.b.Start()
	return x
}

func (x *world) bodies() (list []int) {
	for _, m := range x.received {
		list = append(list, m.Body.(int))
	}
	return list
}

func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

func TestDatagramsArriveInOrderInGoodWeather(t *testing.T) {
	x := newWorld(1, simulate.Weather{Delay: time.Millisecond, Jitter: time.Millisecond})
	for i := range 100 {
		x.net.Send(0, 1, i)
	}
	x.sched.RunUntil(time.Second)
	require.Equal(t, upTo(100), x.bodies())
	require.Zero(t, x.counts.Total())
}

func TestDatagramsAreLostDuplicatedReorderedAndReplayed(t *testing.T) {
	x := newWorld(1, simulate.Weather{Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Replay: 0.1, ReorderBy: time.Second, ReplayAfter: time.Minute})
	for i := range 1000 {
		x.sched.At(time.Duration(i)*10*time.Millisecond, func() { x.net.Send(0, 1, i) })
	}
	x.sched.RunUntil(time.Hour)
	seen := map[int]int{}
	backwards := 0
	last := -1
	for _, i := range x.bodies() {
		if seen[i]++; i < last {
			backwards++
		}
		last = i
	}
	for _, name := range []string{"loss", "duplicate", "reorder", "replay"} {
		require.InDelta(t, 100, x.counts.Of(name), 50, name)
	}
	require.Positive(t, backwards)
	// What was lost may have been replayed.
	require.InDelta(t, 900, len(seen), 60)
	require.EqualValues(t, 1000-x.counts.Of("loss")+x.counts.Of("duplicate")+x.counts.Of("replay"), len(x.received))
}

func TestCutLinkLosesDatagramsInOneDirection(t *testing.T) {
	x := newWorld(1, simulate.Weather{})
	x.net.Cut(0, 1)
	x.net.Cut(0, 1)
	x.net.Mend(0, 1)
	x.net.Send(0, 1, 1)
	x.net.Send(1, 0, 2)
	x.sched.RunUntil(time.Second)
	require.Empty(t, x.received)
	require.Len(t, x.back, 1)
	x.net.Mend(0, 1)
	x.net.Send(0, 1, 3)
	x.sched.RunUntil(2 * time.Second)
	require.Equal(t, []int{3}, x.bodies())
	require.EqualValues(t, 1, x.counts.Of("datagram cut"))
}

func TestConnectionKeepsOrderThroughLossAndCuts(t *testing.T) {
	x := newWorld(3, simulate.Weather{Delay: time.Millisecond, Jitter: 50 * time.Millisecond, Loss: 0.2, Duplicate: 0.5, Reorder: 0.5, ReorderBy: time.Second})
	c := x.net.Dial(0, 1)
	for i := range 100 {
		x.sched.At(time.Duration(i)*time.Millisecond, func() { c.Send(0, i) })
	}
	x.sched.At(20*time.Millisecond, func() { x.net.Cut(0, 1) })
	x.sched.At(time.Minute, func() { x.net.Mend(0, 1) })
	x.sched.RunUntil(time.Hour)
	require.Equal(t, upTo(100), x.bodies())
	require.Positive(t, x.counts.Of("segment lost"))
	require.Positive(t, x.counts.Of("segment cut"))
	x.received[0].Conn.Send(1, "answer")
	x.sched.RunUntil(2 * time.Hour)
	require.Equal(t, "answer", x.back[0].Body)
}

func TestNothingArrivesInAnotherLifeOverAConnection(t *testing.T) {
	x := newWorld(1, simulate.Weather{Delay: time.Second})
	c := x.net.Dial(0, 1)
	c.Send(0, 1)
	x.sched.RunUntil(2 * time.Second)
	c.Send(0, 2)
	x.b.Kill()
	x.b.Start()
	x.sched.RunUntil(4 * time.Second)
	c.Send(0, 3)
	x.sched.RunUntil(10 * time.Second)
	require.Equal(t, []int{1}, x.bodies())
	require.EqualValues(t, 1, x.counts.Of("connection reset"))
	require.True(t, c.Closed())

	d := x.net.Dial(0, 1)
	d.Send(0, 4)
	x.sched.RunUntil(12 * time.Second)
	x.a.Kill()
	x.a.Start()
	x.received[1].Conn.Send(1, "to the dead")
	x.sched.RunUntil(20 * time.Second)
	require.Empty(t, x.back)
}

func TestCloggedLinkDeliversAllOfItLater(t *testing.T) {
	x := newWorld(1, simulate.Weather{Delay: time.Millisecond})
	c := x.net.Dial(0, 1)
	x.net.Clog(0, 1, time.Minute)
	for i := range 5 {
		c.Send(0, i)
	}
	c.Close()
	x.sched.RunUntil(59 * time.Second)
	require.Empty(t, x.received)
	x.sched.RunUntil(61 * time.Second)
	require.Equal(t, upTo(5), x.bodies(), "what is under way arrives, though the connection was given up")
}
