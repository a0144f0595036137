package wire_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/internal/wire/memnet"
)

func TestFramesOfImpossibleSizeCloseTheConnectionBeforeTheyAreRead(t *testing.T) {
	for _, c := range []struct {
		sent string
		size int32
		hint string
	}{
		{"\xff\xff\xff\xff", -1, "frame of -1 bytes"},
		{"\x80\x00\x00\x00", -1 << 31, "where 0 to 104857600 are taken"},
		{"\x06\x40\x00\x01", 100<<20 + 1, "104857601"},
		{"GET / HTTP/1.1\r\n\r\n", 0x47455420, "HTTP"},
		{"\x16\x03\x01\x02\x00", 0x16030102, "TLS"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, wire.Config{}, handler{})
			conn := r.dial()
			conn.Write([]byte(c.sent))
			require.Empty(t, ends(t, conn))
			r.stop()
			failure, ok := errors.AsType[*wire.FrameSizeError](r.reasons()[0])
			require.True(t, ok, "%v", r.reasons())
			require.Equal(t, c.size, failure.Size)
			require.ErrorContains(t, failure, c.hint)
		})
	}
}

func TestStrangersSendSmallFramesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{Limits: wire.Limits{MaxFrameUnadmitted: 100, MaxFrame: 200}}, handler{
			open: func(*wire.Conn) error { return nil },
			frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
				switch string(frame) {
				case "password":
					c.Admit()
				case "more":
					c.SetMaxFrame(300)
				}
				return echo(c, frame), nil
			},
		})
		defer r.stop()
		stranger, friend, special := r.dial(), r.dial(), r.dial()
		big := string(pattern(101))
		ask(t, stranger, big[:100])
		stranger.Write(framed([]byte(big)))
		require.Empty(t, ends(t, stranger))
		ask(t, friend, "password")
		require.Equal(t, big, ask(t, friend, big))
		friend.Write(framed(pattern(201)))
		require.Empty(t, ends(t, friend))
		ask(t, special, "more")
		ask(t, special, string(pattern(300)))
	})
}

func TestWhoDoesNotAuthenticateInTimeIsClosedHoweverBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, handler{open: func(*wire.Conn) error { return nil }})
		begin := time.Now()
		busy, silent := r.dial(), r.dial()
		for range 29 {
			time.Sleep(time.Second)
			ask(t, busy, "let me in")
		}
		require.Empty(t, ends(t, busy))
		require.Empty(t, ends(t, silent))
		require.Equal(t, 30*time.Second, time.Since(begin))
		r.stop()
		require.Equal(t, []error{wire.ErrHandshake, wire.ErrHandshake}, r.reasons())
	})
}

func TestIdleConnectionsEndByTheServersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		manual := clock.NewManual(time.Unix(0, 0))
		r := start(t, wire.Config{Clock: manual, Limits: wire.Limits{Idle: time.Hour}}, handler{})
		idle, busy := r.dial(), r.dial()
		ask(t, idle, "x")
		ask(t, busy, "x")
		time.Sleep(24 * time.Hour) // of another clock
		synctest.Wait()
		require.Empty(t, r.reasons())
		manual.Advance(time.Hour - time.Second)
		ask(t, busy, "x")
		synctest.Wait()
		require.Empty(t, r.reasons())
		manual.Advance(time.Second)
		require.Empty(t, ends(t, idle))
		synctest.Wait()
		require.Equal(t, []error{wire.ErrIdle}, r.reasons())
		ask(t, busy, "x")
		synctest.Wait()
		manual.Advance(time.Hour)
		require.Empty(t, ends(t, busy))
		r.stop()
		require.Zero(t, manual.Waiting(), "a server without connections waits for nothing")
	})
}

func TestAConnectionWhoseRequestTakesLongIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{Limits: wire.Limits{Idle: time.Minute}}, handler{
			frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
				time.Sleep(time.Hour)
				return echo(c, frame), nil
			},
		})
		defer r.stop()
		require.Equal(t, "x", ask(t, r.dial(), "x"))
	})
}

func TestAFrameHasALimitedTimeToArrive(t *testing.T) {
	for name, c := range map[string]struct {
		first string
		limit time.Duration
	}{
		"size":       {"\x00", 30 * time.Second},
		"small":      {"\x00\x00\x00\x28a", 30 * time.Second},
		"large":      {"\x00\x02\x00\x00a", 32 * time.Second}, // 128 KiB: two seconds more
		"very large": {"\x00\x80\x00\x00", (30 + 128) * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, wire.Config{}, handler{})
				conn := r.dial()
				ask(t, conn, "a whole one")
				begin := time.Now()
				var slowloris sync.WaitGroup
				slowloris.Go(func() {
					_, err := conn.Write([]byte(c.first))
					for err == nil && len(c.first) > 4 {
						time.Sleep(5 * time.Second)
						_, err = conn.Write([]byte("x"))
					}
				})
				require.Empty(t, ends(t, conn))
				require.InDelta(t, c.limit, time.Since(begin), float64(time.Second))
				conn.Close()
				slowloris.Wait()
				r.stop()
				require.Equal(t, []error{wire.ErrSlowFrame}, r.reasons())
			})
		})
	}
}

func TestAReplyHasALimitedTimeToBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := false
		r := start(t, wire.Config{}, handler{frame: func(c *wire.Conn, _ context.Context, _ []byte) (*wire.Reply, error) {
			r := c.Reply()
			r.Pieces = append(r.Pieces, make([]byte, 1<<20))
			r.Release = func() { released = true }
			return r, nil
		}})
		conn := r.dial()
		begin := time.Now()
		conn.Write(framed([]byte("x")))
		for len(r.reasons()) == 0 {
			time.Sleep(time.Second)
		}
		require.InDelta(t, 46*time.Second, time.Since(begin), float64(time.Second)) // a second for each 64 KiB
		r.stop()
		require.Equal(t, []error{wire.ErrSlowReply}, r.reasons())
		require.True(t, released)
		conn.Close()
	})
}

func TestNegativeLimitsAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := wire.Limits{Idle: -1, Handshake: -1, SlowFrame: -1, SlowReply: -1, MaxFrame: -1, MaxFrameUnadmitted: -1, Connections: -1, PerAddress: -1, Rate: -1}
		r := start(t, wire.Config{Limits: none}, handler{open: func(*wire.Conn) error { return nil }})
		conn := r.dial()
		conn.Write([]byte{0})
		time.Sleep(ever)
		conn.Write(framed([]byte("x"))[1:])
		require.Equal(t, "x", string(readFrame(t, conn)))
		r.stop()
	})
}

func TestTheNumberOfConnectionsIsLimitedAndFurtherOnesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{Limits: wire.Limits{Connections: 2}}, handler{})
		a, b, c := r.dial(), r.dial(), r.dial()
		ask(t, a, "x")
		ask(t, b, "x")
		c.Write(framed([]byte("x")))
		time.Sleep(time.Minute)
		require.Equal(t, 2, r.Stats().Connections)
		b.Close()
		require.Equal(t, "x", string(readFrame(t, c)))
		d := r.dial() // waits when the server closes
		synctest.Wait()
		r.stop()
		require.Empty(t, ends(t, d))
	})
}

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	home := netip.MustParseAddr("127.0.0.1")
	for name, limits := range map[string]wire.Limits{
		"for all":          {PerAddress: 2},
		"by an override":   {PerAddress: 1, Overrides: map[netip.Addr]int{home: 2}},
		"override of many": {Overrides: map[netip.Addr]int{home: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refused []error
				r := start(t, wire.Config{Limits: limits, Refused: func(remote net.Addr, reason error) {
					refused = append(refused, reason)
				}}, handler{})
				a, b := r.dial(), r.dial()
				ask(t, a, "x")
				ask(t, b, "x")
				require.Empty(t, ends(t, r.dial()))
				a.Close()
				synctest.Wait()
				ask(t, r.dial(), "x")
				r.stop()
				require.Equal(t, []error{wire.ErrTooManyConnections}, refused)
			})
		})
	}
}

func TestConnectionsAreAcceptedAtALimitedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{Limits: wire.Limits{Rate: 5}}, handler{})
		defer r.stop()
		begin := time.Now()
		var conns []net.Conn
		for range 20 {
			conns = append(conns, r.dial())
		}
		for i, c := range conns {
			ask(t, c, "x")
			require.Equal(t, max(0, time.Duration(i-4)*time.Second/5), time.Since(begin).Round(time.Millisecond), "connection %d", i)
		}
		time.Sleep(time.Hour) // saves no more than a second's worth
		begin = time.Now()
		for range 6 {
			ask(t, r.dial(), "x")
		}
		require.Equal(t, time.Second/5, time.Since(begin).Round(time.Millisecond))
	})
}

func TestAQuotaDelaysAndRefusesConnectionsByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		r := start(t, wire.Config{Quota: func(remote net.Addr) (time.Duration, error) {
			require.Equal(t, "127.0.0.1", remote.String()[:9])
			switch n.Add(1) {
			case 1:
				return time.Minute, wire.ErrTooManyConnections
			case 2:
				return time.Hour, nil
			}
			return 0, nil
		}}, handler{})
		begin := time.Now()
		refused := r.dial()
		synctest.Wait()
		late := r.dial()
		synctest.Wait()
		ask(t, r.dial(), "x")
		require.Zero(t, time.Since(begin))
		require.Empty(t, ends(t, refused))
		require.Equal(t, time.Minute, time.Since(begin))
		ask(t, late, "x")
		require.Equal(t, time.Hour, time.Since(begin))
		r.stop()
	})
}

// failing is a listener whose Accept fails as often as it is told.
type failing struct {
	net.Listener
	errs chan error
}

func (f *failing) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, &net.OpError{Op: "accept", Err: err}
	default:
		return f.Listener.Accept()
	}
}

func TestTheAcceptLoopSurvivesWantOfFileDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		l, err := network.Listen(at)
		require.NoError(t, err)
		f := &failing{l, make(chan error, 20)}
		for range 5 {
			f.errs <- syscall.EMFILE
			f.errs <- syscall.ENFILE
			f.errs <- syscall.ECONNABORTED
			f.errs <- syscall.ENOBUFS
		}
		var failed []time.Time
		s := wire.NewServer(wire.Config{AcceptFailed: func(_ net.Listener, err error) {
			require.Error(t, err)
			failed = append(failed, time.Now())
		}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(f, handler{}) }()
		c, err := network.DialContext(context.Background(), "tcp", at)
		require.NoError(t, err)
		require.Equal(t, "x", ask(t, c, "x"))
		require.Len(t, failed, 20)
		require.Equal(t, 5*time.Millisecond, failed[1].Sub(failed[0]), "it tries again soon")
		require.Equal(t, time.Second, failed[19].Sub(failed[18]), "and then seldom")
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, wire.ErrServerClosed)
	})
}

func TestAnAcceptThatCannotSucceedAgainEndsServe(t *testing.T) {
	l, err := memnet.New().Listen(at)
	require.NoError(t, err)
	f := &failing{l, make(chan error, 1)}
	f.errs <- syscall.EINVAL
	s := wire.NewServer(wire.Config{})
	require.ErrorIs(t, s.Serve(f, handler{}), syscall.EINVAL)
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed, "it has closed the listener")
	l, err = memnet.New().Listen(at)
	require.NoError(t, err)
	l.Close()
	require.ErrorIs(t, s.Serve(l, handler{}), net.ErrClosed)
	require.NoError(t, s.Close())
	l, err = memnet.New().Listen(at)
	require.NoError(t, err)
	require.ErrorIs(t, s.Serve(l, handler{}), wire.ErrServerClosed)
}

// Sizes without their bytes get next to no memory, and frames that fill the budget make others wait, not fail.
func TestMemoryIsBoundedForTheWholeListener(t *testing.T) {
	const frame, limit = 1 << 20, 4 << 20
	synctest.Test(t, func(t *testing.T) {
		budget := wire.NewBudget(limit)
		hold, held := make(chan struct{}), atomic.Int32{}
		r := start(t, wire.Config{Budget: budget, Limits: wire.Limits{SlowFrame: -1}}, handler{
			frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
				held.Add(1)
				<-hold
				return &wire.Reply{Pieces: net.Buffers{frame[:1]}}, nil
			},
		})
		defer r.stop()
		for range 100 {
			liar := r.dial()
			liar.Write(append(binary.BigEndian.AppendUint32(nil, 100<<20), "and little more"...))
		}
		synctest.Wait()
		require.Zero(t, budget.Used())
		var answered sync.WaitGroup
		for range 20 {
			c := r.dial()
			answered.Go(func() {
				c.Write(framed(pattern(frame)))
				readFrame(t, c)
			})
		}
		synctest.Wait()
		require.LessOrEqual(t, budget.Used(), int64(limit+frame))
		require.Positive(t, held.Load())
		require.Less(t, held.Load(), int32(6))
		for held.Load() < 20 {
			hold <- struct{}{}
			synctest.Wait()
			require.LessOrEqual(t, budget.Used(), int64(limit+2*frame))
		}
		close(hold)
		answered.Wait()
	})
}

// Ten thousand connections that have begun a frame, or a handshake, and say no more cost little, do not keep others waiting,
// and are gone when their time is over.
func TestHalfOpenConnectionsAreOutlived(t *testing.T) {
	n := 10_000
	if raceEnabled {
		n = 1000
	}
	const largest = 31 * time.Second // for 64 KiB
	synctest.Test(t, func(t *testing.T) {
		budget := wire.NewBudget(1 << 20) // less than they claim
		r := start(t, wire.Config{Budget: budget}, handler{})
		half := make([]net.Conn, n)
		for i := range half {
			half[i] = r.dial()
			half[i].Write([]byte("\x00\x01\x00\x00 and no more")[:1+i%9])
		}
		synctest.Wait()
		require.Zero(t, budget.Used())
		c := r.dial()
		for range 100 {
			require.Equal(t, "x", ask(t, c, "x"))
		}
		begin := time.Now()
		for _, late := range half {
			require.Empty(t, ends(t, late))
		}
		require.LessOrEqual(t, time.Since(begin), largest+time.Second)
		require.Equal(t, "x", ask(t, c, "x"))
		synctest.Wait()
		require.Equal(t, 1, r.Stats().Connections)
		require.Zero(t, budget.Used())
		r.stop()
	})
}

func TestAFrameThatIsDroppedCountsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := wire.NewBudget(1 << 20)
		release := make(chan struct{})
		r := start(t, wire.Config{Budget: budget}, handler{
			frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
				c.Drop()
				c.Drop()
				<-release
				return echo(c, []byte("x")), nil
			},
		})
		defer r.stop()
		c := r.dial()
		c.Write(framed(pattern(1 << 20)))
		synctest.Wait()
		require.Zero(t, budget.Used())
		close(release)
		require.Equal(t, "x", string(readFrame(t, c)))
		require.Zero(t, budget.Used())
	})
}

// Replies in memory of their own count while they are written: while nobody reads them no further request is begun.
func TestRepliesThatNobodyReadsKeepRequestsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := wire.NewBudget(1 << 20)
		var begun atomic.Int32
		r := start(t, wire.Config{Budget: budget}, handler{
			frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
				begun.Add(1)
				return echo(c, make([]byte, 2<<20)), nil
			},
		})
		defer r.stop()
		var conns []net.Conn
		for range 10 {
			c := r.dial()
			c.Write(framed([]byte("x")))
			conns = append(conns, c)
			synctest.Wait()
		}
		require.EqualValues(t, 2, begun.Load(), "one beyond the limit")
		for _, c := range conns {
			go io.Copy(io.Discard, c)
		}
		synctest.Wait()
		require.EqualValues(t, 10, begun.Load())
		require.Zero(t, budget.Used())
	})
}
