package faultnet_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire/faultnet"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// connect dials from a to b over a network with faults.
func connect(t *testing.T) (n *faultnet.Network, a, b net.Conn, dial func(context.Context) (net.Conn, error)) {
	inner := memnet.New()
	l, err := inner.Listen("b:1")
	require.NoError(t, err)
	n = faultnet.New(clock.System)
	n.Name("b:1", "b")
	dialer := n.Dialer("a", inner.DialContext)
	dial = func(ctx context.Context) (net.Conn, error) { return dialer(ctx, "tcp", "b:1") }
	a, err = dial(t.Context())
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { n.Close(); a.Close(); b.Close(); l.Close() })
	return n, a, b, dial
}

func read(t *testing.T, c net.Conn, n int) string {
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	return string(b)
}

func TestACutStopsOneDirectionAndHealingLetsArriveWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, dial := connect(t)
		n.Cut("a", "b")
		a.Write([]byte("late"))
		b.Write([]byte("now"))
		require.Equal(t, "now", read(t, a, 3))
		arrived := make(chan string, 1)
		go func() { arrived <- read(t, b, 4) }()
		time.Sleep(time.Hour)
		require.Empty(t, arrived)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := dial(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		n.Heal()
		require.Equal(t, "late", <-arrived)
	})
}

func TestDelaysAreOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, _ := connect(t)
		n.Delay("b", "a", time.Minute)
		begun := time.Now()
		a.Write([]byte("x"))
		read(t, b, 1)
		require.Zero(t, time.Since(begun))
		b.Write([]byte("x"))
		read(t, a, 1)
		require.Equal(t, time.Minute, time.Since(begun))
	})
}

func TestBreakEndsBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, dial := connect(t)
		n.Break("b", "a")
		for _, c := range []net.Conn{a, b} {
			_, err := c.Read(make([]byte, 1))
			require.Error(t, err)
		}
		again, err := dial(t.Context())
		require.NoError(t, err)
		again.Close()
	})
}
