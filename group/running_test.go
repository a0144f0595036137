package group

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
)

// startTimer returns a timer of 8 s, in slices of one, and whether it has fired.
func startTimer(c *clock.Manual) *bool {
	fired := false
	newRunningTimer(c, 8*time.Second, func(t *runningTimer) { fired = t.tick() || fired })
	return &fired
}

func TestTimerOfARunningProcessIsExact(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	fired := startTimer(c)
	c.Advance(8*time.Second - 1)
	require.False(t, *fired)
	c.Advance(1)
	require.True(t, *fired)
	c.Advance(time.Hour)
	require.Zero(t, c.Waiting())
}

func TestTimerDoesNotCountTimeInWhichTheProcessWasStopped(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	fired := startTimer(c)
	for range 3 { // stopped again and again, each time for long
		c.Advance(2500 * time.Millisecond)
		c.Set(c.Now().Add(time.Hour))
		c.Advance(500 * time.Millisecond) // wakes: this slice is waited for once more
		require.False(t, *fired)
	}
	c.Advance(2*time.Second - 1)
	require.False(t, *fired)
	c.Advance(1)
	require.True(t, *fired)
}

func TestTimerThatIsAlwaysLateFiresInTheEnd(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	fired := startTimer(c)
	slices := 0
	for ; !*fired; slices++ {
		c.Set(c.Now().Add(time.Minute))
		c.Advance(time.Second)
	}
	require.Equal(t, 16, slices)
}

func TestClockThatIsSetBackDoesNotStopATimer(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	fired := startTimer(c)
	c.Set(time.Unix(1, 0))
	c.Advance(8 * time.Second)
	require.True(t, *fired)
}
