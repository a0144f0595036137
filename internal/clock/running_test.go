package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
)

func TestRunningGoesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewRunning()
		start := c.Now()
		called := make(chan time.Time, 2)
		c.AfterFunc(time.Minute, func() { called <- c.Now() })
		stop := c.AfterFunc(time.Minute, func() { t.Error("called after stop") })
		require.True(t, stop())
		require.False(t, stop())
		require.Equal(t, time.Minute, (<-called).Sub(start))
		require.Zero(t, c.Waiting())
		require.Zero(t, c.Offset())
	})
}

func TestRunningIsAdvancedInOrderAndGoesOnFromThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewRunning()
		start := c.Now()
		var got []string
		note := func(name string) func() {
			return func() { got = append(got, name+"@"+c.Now().Sub(start).String()) }
		}
		c.AfterFunc(3*time.Second, note("c"))
		c.AfterFunc(time.Second, note("a"))
		c.AfterFunc(time.Second, note("b"))
		c.AfterFunc(2*time.Second, func() { c.AfterFunc(time.Second, note("nested")) })
		late := make(chan time.Time, 1)
		began := time.Now()
		c.AfterFunc(10*time.Second, func() { late <- c.Now() })
		c.Advance(4 * time.Second)
		require.Equal(t, []string{"a@1s", "b@1s", "c@3s", "nested@3s"}, got)
		require.Equal(t, 4*time.Second, c.Now().Sub(start))
		require.Equal(t, time.Now(), began, "in no time")
		require.Equal(t, 10*time.Second, (<-late).Sub(start))
		require.Equal(t, 6*time.Second, time.Since(began), "the rest passes by itself")
		require.Panics(t, func() { c.Advance(-1) })
	})
}

func TestRunningCallsWhatIsDueAlreadyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewRunning()
		called := make(chan bool, 2)
		c.AfterFunc(-time.Hour, func() { called <- true })
		c.AfterFunc(0, func() { called <- true })
		<-called
		<-called
	})
}
