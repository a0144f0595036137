package replicationtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/replication/replicationtest"
)

// totals are what many runs have come to.
type totals struct {
	runs      int
	simulated time.Duration
	events    uint64
	acked     int64
	read      int64
	faults    simulate.Counts
	seen      simulate.Counts
}

func (s *totals) add(r *replicationtest.Report) {
	s.runs++
	s.simulated += r.Simulated
	s.events += r.Events
	s.acked += r.Acked
	s.read += r.Read
	s.faults.AddAll(&r.Faults)
	s.seen.AddAll(&r.Seen)
}

func (s *totals) print(t *testing.T, took, cores time.Duration) {
	times := func(d time.Duration) float64 { return s.simulated.Seconds() / max(d.Seconds(), 1e-9) }
	t.Logf("%d seeds, %.2f simulated hours, %d events, %.0f × real time per core (%.0f × by the wall), %d acknowledged, %d read, lost 0",
		s.runs, s.simulated.Hours(), s.events, times(cores), times(took), s.acked, s.read)
	t.Logf("faults that took effect: %d: %s", s.faults.Total(), s.faults.String())
	t.Logf("seen: %s", s.seen.String())
}

// requireWell fails with all that is needed to find out why.
func requireWell(t *testing.T, o replicationtest.Options, r *replicationtest.Report) {
	if r.Violation == nil {
		return
	}
	o.Keep = 120
	least, again := replicationtest.Shrink(o, *r, shrinkRuns())
	var schedule strings.Builder
	_ = least.Write(&schedule)
	path := filepath.Join(os.TempDir(), fmt.Sprintf("partlog-seed-%d.schedule", r.Seed))
	_ = os.WriteFile(path, []byte(schedule.String()), 0o600)
	t.Fatalf("seed %d: %v\n%s\nshrunk from %d to %d actions (%s):\n%s\n%v\nstory:\n%s\n\nagain: PARTLOG_SEED=%d go test -run TestSeed ./replication/replicationtest",
		r.Seed, r.Violation, r.Setup, len(r.Schedule), len(least), path, schedule.String(), again.Violation, again.Trace, r.Seed)
}

func shrinkRuns() int {
	if n, err := strconv.Atoi(os.Getenv("PARTLOG_SHRINK")); err == nil {
		return n
	}
	return 150
}

// seeds is how many a plain run of the tests tries.
const seeds = 40

// Whatever goes wrong, nothing that was promised breaks, and when it has stopped everything works again. PARTLOG_SOAK=1h goes on for an hour, with
// other seeds each time; PARTLOG_SEEDS is how many; PARTLOG_FROM the first.
func TestNothingPromisedBreaks(t *testing.T) {
	var s totals
	began, cores := clock.Elapsed(clock.System), cpuTime()
	took := func() time.Duration { return clock.Elapsed(clock.System) - began }
	soak, err := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	if text := os.Getenv("PARTLOG_SOAK"); text != "" {
		require.NoError(t, err, "PARTLOG_SOAK")
	}
	first, count := uint64(1), uint64(seeds)
	if testing.Short() {
		count = seeds / 5
	}
	if soak > 0 {
		first, count = uint64(clock.System.Now().UnixNano())>>10, 1<<40
	}
	if n, err := strconv.ParseUint(os.Getenv("PARTLOG_FROM"), 10, 64); err == nil {
		first = n
	}
	if n, err := strconv.ParseUint(os.Getenv("PARTLOG_SEEDS"), 10, 64); err == nil {
		count = n
	}
	t.Logf("seeds from %d", first)
	for seed := first; seed < first+count && (soak == 0 || took() < soak); seed++ {
		o := replicationtest.Options{Seed: seed, Reseed: reseed(t)}
		r := replicationtest.Run(o)
		requireWell(t, o, &r)
		s.add(&r)
	}
	s.print(t, took(), cpuTime()-cores)
}

// TestSeed tells the story of one seed: PARTLOG_SEED, with PARTLOG_SCHEDULE a file to replay.
func TestSeed(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("PARTLOG_SEED"), 10, 64)
	if err != nil {
		t.Skip("PARTLOG_SEED is not set")
	}
	o := replicationtest.Options{Seed: seed, Reseed: reseed(t), Trace: os.Stdout}
	if name := os.Getenv("PARTLOG_SCHEDULE"); name != "" {
		f, err := os.Open(name)
		require.NoError(t, err)
		defer f.Close()
		o.Schedule, err = simulate.ReadSchedule(f)
		require.NoError(t, err)
		o.Replay = true
	}
	r := replicationtest.Run(o)
	require.NoError(t, violation(&r))
}

func violation(r *replicationtest.Report) error {
	if r.Violation == nil {
		return nil
	}
	return r.Violation
}
