package peer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire/faultnet"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// process starts a process of node 1 that dials node 2.
func process(t *testing.T, n *memnet.Network, incarnation byte, epoch int64, change func(*Config)) (*Endpoint, *Peer, *diary) {
	d := &diary{}
	c := Config{Identity: identity(1), Dial: n.DialContext, Plaintext: true, Events: d.events(), Seed: 1}
	c.Identity.Incarnation, c.Identity.Epoch = [16]byte{incarnation}, epoch
	if change != nil {
		change(&c)
	}
	e := listen(t, c)
	e.SetPeer(2, "node-2:1")
	return e, e.Peer(2), d
}

func TestOfTwoProcessesWithOneIdTheLivingFirstOneKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		var second diary
		c := plain(t, n, 2)
		c.Events = second.events()
		listen(t, c)
		_, first, _ := process(t, n, 'a', -1, nil)
		_, err := ask(t.Context(), first, 0, "") // then both ends know of the connection
		require.NoError(t, err)
		_, other, d := process(t, n, 'b', -1, nil)
		time.Sleep(10 * time.Second)
		_, connected := other.Remote()
		require.False(t, connected)
		require.ErrorIs(t, d.firstRefusal(), ErrDuplicateNode)
		require.True(t, d.firstRefusal().ByPeer)
		require.EqualValues(t, 2, d.firstRefusal().NodeID)
		require.ErrorIs(t, second.firstRefusal(), ErrDuplicateNode)
		require.EqualValues(t, 1, second.firstRefusal().NodeID)
		_, err = ask(t.Context(), first, 0, "")
		require.NoError(t, err)
		require.EqualValues(t, 1, first.Stats().Connects)
	})
}

func TestAProcessThatStartsAgainTakesItsPlaceOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		listen(t, plain(t, n, 2))
		e, first, _ := process(t, n, 'a', -1, nil)
		_, err := ask(t.Context(), first, 0, "") // then both ends know of the connection
		require.NoError(t, err)
		e.Close()
		_, again, _ := process(t, n, 'b', -1, nil)
		begun := time.Now()
		require.NoError(t, again.Wait(t.Context()))
		require.Less(t, time.Since(begun), time.Second)
	})
}

func TestAProcessThatIsGoneWithoutAWordIsReplacedOnceItDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, faults := memnet.New(), faultnet.New(clock.System)
		defer faults.Close()
		listen(t, plain(t, n, 2))
		_, first, d := process(t, n, 'a', 5, func(c *Config) { c.Dial = faults.Dialer("a", c.Dial) })
		_, err := ask(t.Context(), first, 0, "") // then both ends know of the connection
		require.NoError(t, err)
		faults.CutBoth("a", "node-2:1") // a machine without power says nothing
		_, again, _ := process(t, n, 'b', 6, nil)
		begun := time.Now()
		require.NoError(t, again.Wait(t.Context()))
		require.GreaterOrEqual(t, time.Since(begun), time.Second)
		require.Less(t, time.Since(begun), 3*time.Second)
		faults.Heal() // it was only cut off: its time is over
		time.Sleep(10 * time.Second)
		_, connected := first.Remote()
		require.False(t, connected)
		require.ErrorIs(t, d.firstRefusal(), ErrStaleEpoch)
		_, err = ask(t.Context(), again, 0, "")
		require.NoError(t, err)
	})
}

func TestADialledNodeIsComparedWithTheOneThatDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		var d diary
		c := plain(t, n, 2)
		c.Events = d.events()
		e := listen(t, c)
		process(t, n, 'a', -1, nil) // node 1, which does not listen
		synctest.Wait()
		impostor := plain(t, n, 1)
		impostor.Identity.Incarnation = [16]byte{'b'}
		listen(t, impostor)
		e.SetPeer(1, "node-1:1")
		synctest.Wait()
		_, connected := e.Peer(1).Remote()
		require.False(t, connected)
		require.ErrorIs(t, d.firstRefusal(), ErrDuplicateNode)
		require.False(t, d.firstRefusal().ByPeer)
	})
}

func TestANodeThatComesBackIsDialledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		c := plain(t, n, 2)
		c.Limits.MinBackoff, c.Limits.MaxBackoff = time.Hour, time.Hour
		e := listen(t, c)
		e.SetPeer(1, "node-1:1")
		synctest.Wait() // the first attempt has failed
		back := listen(t, plain(t, n, 1))
		back.SetPeer(2, "node-2:1")
		begun := time.Now()
		require.NoError(t, e.Peer(1).Wait(t.Context()))
		require.Less(t, time.Since(begun), time.Minute)
	})
}
