package replicationtest

import (
	"io"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
)

// Options say what to run. Only Seed is needed: all else is drawn from it, or has a default.
type Options struct {
	Seed uint64
	// Trouble is how long the first phase is; 0: 100 s to 200 s, as the seed says.
	Trouble time.Duration
	// Bound is how long, after everything has been mended, it may take until all is well; 0: 3 min.
	Bound time.Duration
	// Schedule replaces the one that the seed draws: a shrunk one, mostly.
	Schedule simulate.Schedule
	// Replay says that Schedule counts, even if it is empty.
	Replay bool
	// Quiet leaves all faults out.
	Quiet bool
	// Only, if not nil, are the kinds of faults to draw, each of them for every seed and more often: to look for one thing.
	Only []string
	// Trace gets the story, nil: only the last lines of it are kept, and these only with Keep.
	Trace io.Writer
	Keep  int
	// Reseed, if not nil, is called with the seed before anything is drawn: it seeds crypto/rand.
	Reseed func(seed uint64)
}

// setup is what a seed draws for one cluster.
type setup struct {
	nodes, started int // nodes that there can be, and that there are in the beginning
	voters         int
	partitions     int // of the topic of data; one more has the offsets of groups
	factor         int
	minISR         int32
	sync           log.SyncMode
	flush          time.Duration // how often logs are synced if appends do not
	segmentBytes   int64
	tick           time.Duration // of raft
	electionTicks  int
	heartbeatTicks int
	session        time.Duration
	heartbeat      time.Duration
	lag            time.Duration
	fetchWait      time.Duration
	producers      int
	consumers      int
	txnClients     int
	groups         []groupSetup
	keep           keeping
	near           bool // consumers read from near followers
	inFlight       int
	level          int16 // feature level in the beginning: of the cluster, and of what its nodes run
	weather        simulate.Weather
	compactEvery   uint64 // entries between snapshots of the controller
	trouble        time.Duration
	bound          time.Duration
}

func draw(o Options) setup {
	rng := simulate.Stream(o.Seed, "setup")
	s := setup{
		partitions:     1 + rng.IntN(3),
		producers:      1 + rng.IntN(3),
		consumers:      1 + rng.IntN(2),
		inFlight:       1 + rng.IntN(5),
		segmentBytes:   int64(2<<10 + rng.IntN(16<<10)),
		tick:           100 * time.Millisecond,
		electionTicks:  10 + rng.IntN(10),
		heartbeatTicks: 2 + rng.IntN(3),
		session:        6*time.Second + time.Duration(rng.IntN(4))*time.Second,
		heartbeat:      2 * time.Second,
		lag:            time.Duration(4+rng.IntN(12)) * time.Second,
		fetchWait:      500 * time.Millisecond,
		compactEvery:   20 + uint64(rng.IntN(200)),
		flush:          time.Duration(1+rng.IntN(5)) * time.Second,
		weather:        simulate.Weather{Delay: 200 * time.Microsecond, Jitter: time.Duration(1+rng.IntN(5)) * time.Millisecond},
		trouble:        100*time.Second + time.Duration(rng.IntN(100))*time.Second,
		bound:          3 * time.Minute,
	}
	s.factor = 3
	s.nodes = 3 + rng.IntN(3)
	s.started = s.nodes - rng.IntN(s.nodes-2)
	s.voters = 3
	s.minISR = 2
	if rng.IntN(4) == 0 {
		s.minISR = 1
	}
	s.sync = log.SyncAlways
	if rng.IntN(2) == 0 {
		s.sync = log.SyncNever
	}
	if rng.IntN(2) == 0 {
		s.txnClients = 1 + rng.IntN(2)
	}
	s.groups = drawGroups(o.Seed)
	s.keep, s.near = drawKeeping(o.Seed), drawNear(o.Seed)
	s.level = control.MaxLevel
	switch rng.IntN(8) {
	case 0, 1:
		s.level = control.LevelBase
	case 2:
		s.level = control.LevelELR
	}
	if o.Trouble > 0 {
		s.trouble = o.Trouble
	}
	if o.Bound > 0 {
		s.bound = o.Bound
	}
	return s
}
