package kafka

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var kafkasWindow = window{11, 1000}

// The arithmetic of Kafka's Rate and ClientQuotaManager, as its own tests have it: eleven samples of a second, a bound of 500,
// and the sum is divided by ten whole seconds and what has passed of the current one.
func TestRateIsMeasuredOverTenSecondsAndTheCurrentOne(t *testing.T) {
	var m meter
	for i := range int64(10) {
		rate, _ := m.record(kafkasWindow, 400, i*1000)
		require.LessOrEqual(t, rate, 500.0, "400 a second is below 500")
	}
	// At 10.5 s, 1 s of the last sample not yet full: 10.5 seconds, and 11 * 400 + 2300 - 400.
	rate, over := m.record(kafkasWindow, 2300, 10_500)
	require.Equal(t, int64(10_500), over)
	require.InDelta(t, 600, rate, 0.001)
	require.Equal(t, 2100*time.Millisecond, throttleFor(rate, 500, over), "(600 - 500) / 500 * 10.5 s")
}

func TestBurstAfterSilenceIsMeasuredOverTheWholeWindow(t *testing.T) {
	var m meter
	rate, over := m.record(kafkasWindow, 5000, 123_456)
	require.Equal(t, int64(10_000), over, "ten whole samples are assumed")
	require.InDelta(t, 500, rate, 0.001)
	require.Zero(t, throttleFor(rate, 500, over), "at the bound")
	rate, over = m.record(kafkasWindow, 1, 123_456)
	require.Equal(t, time.Duration(math.Round(0.1/500*10_000*1))*time.Millisecond, throttleFor(rate, 500, over))

	// Nothing was recorded for a whole window: the old sample counts no more.
	rate, _ = m.record(kafkasWindow, 10, 123_456+11_000)
	require.InDelta(t, 1, rate, 0.001)
}

func TestWhatIsTakenBackIsNotMeasured(t *testing.T) {
	var m meter
	before, _ := m.record(kafkasWindow, 100, 50)
	m.record(kafkasWindow, 1e6, 900)
	m.retract(kafkasWindow, 1e6, 900)
	after, _ := m.record(kafkasWindow, 0, 50+900)
	require.InDelta(t, before*10_000/10_900, after, 0.001)
}

// A client that waits as long as it is told, and does nothing meanwhile, is told to go on soon. Not at once: the formula takes
// ten whole samples for passed that have not.
func TestWaitingAsLongAsToldBringsTheRateDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m meter
		now, bound := int64(0), float64(rapid.IntRange(1, 1000).Draw(t, "bound"))
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			now += rapid.Int64Range(0, 3000).Draw(t, "pause")
			m.record(kafkasWindow, float64(rapid.IntRange(0, 3000).Draw(t, "value")), now)
		}
		for rounds := 0; ; rounds++ {
			rate, over := m.record(kafkasWindow, 0, now)
			require.False(t, math.IsNaN(rate) || math.IsInf(rate, 0) || rate < 0)
			require.GreaterOrEqual(t, over, int64(10_000))
			d := throttleFor(rate, bound, over)
			if d == 0 {
				require.LessOrEqual(t, rate, bound*1.001)
				return
			}
			require.Less(t, rounds, 40)
			now += d.Milliseconds()
		}
	})
}

// The token bucket of KIP-599: ten a second and a window of eleven seconds are a burst of 110 and more, once.
func TestBucketIsOverdrawnOnceAndRefusesUntilItIsFilled(t *testing.T) {
	var b bucket
	wait, taken := b.take(kafkasWindow, 10, 110, 1000, true)
	require.True(t, taken)
	require.Zero(t, wait)
	wait, taken = b.take(kafkasWindow, 10, 50, 1000, true)
	require.True(t, taken, "the bucket is empty, not overdrawn")
	require.Zero(t, wait, "a strict quota does not slow down what it takes")
	wait, taken = b.take(kafkasWindow, 10, 1, 1000, true)
	require.False(t, taken)
	require.Equal(t, 5*time.Second, wait, "50 tokens at 10 a second")
	_, taken = b.take(kafkasWindow, 10, 1, 5999, true)
	require.False(t, taken)
	wait, taken = b.take(kafkasWindow, 10, 1, 6000, true)
	require.True(t, taken)
	require.Zero(t, wait)

	wait, taken = b.take(kafkasWindow, 10, 19, 6000, false)
	require.True(t, taken, "a permissive quota takes everything")
	require.Equal(t, 2*time.Second, wait)
	wait, taken = b.take(kafkasWindow, 10, 110, 6000+2000+11_000+99_000, false)
	require.True(t, taken)
	require.Zero(t, wait, "full again, and not fuller")
	wait, _ = b.take(kafkasWindow, 10, 1, 6000+2000+11_000+99_000, false)
	require.Equal(t, 100*time.Millisecond, wait)
}

func TestThrottleIsRoundedAndBounded(t *testing.T) {
	require.Equal(t, time.Duration(0), throttleFor(1, 1, 1000))
	require.Equal(t, 2*time.Millisecond, milliseconds(1.5))
	require.Equal(t, time.Millisecond, milliseconds(1.49))
	require.Equal(t, time.Duration(0), milliseconds(-3))
	require.Equal(t, math.MaxInt32*time.Millisecond, milliseconds(math.Inf(1)))
}
