package control

import "time"

// LifecycleConfig says how a node keeps its registration. Zero fields have Kafka's defaults.
type LifecycleConfig struct {
	Session   time.Duration // as WatchConfig.Session; 9 s
	Interval  time.Duration // broker.heartbeat.interval.ms; 2 s
	Timeout   time.Duration // of a heartbeat or registration without an answer; 2 s
	Duplicate time.Duration // initial.broker.registration.timeout.ms: for so long a node waits for another process's session to end; 60 s
}

// Stage is where a node is in its life, Kafka's BrokerState.
//
//	Starting ─▶ Registering ─▶ Fenced ◀─▶ Active ─▶ ShuttingDown ─▶ Done
//	                ▲             │          │
//	                └─────────────┴──────────┘  the registration is not known any more
//	Registering ─▶ Failed: another process has the id, and lives
type Stage int8

// The stages.
const (
	StageStarting Stage = iota // has not been started
	StageRegistering
	StageFenced // registered, and catching up
	StageActive
	StageShuttingDown // in controlled shutdown
	StageDone         // may stop
	StageFailed       // must stop: see Lifecycle.Failure
)

// Action is what a node is to send now.
type Action int8

// The actions.
const (
	ActNothing   Action = iota
	ActRegister         // send Register with the incarnation; answer by Lifecycle.Registered
	ActHeartbeat        // send Lifecycle.Heartbeat; answer by Lifecycle.Answered
)

// Lifecycle is a node's own view of its membership. It is told what happens, and says by Poll what to send; the node has at most one request
// of it under way. It is for one goroutine.
type Lifecycle struct {
	cfg   LifecycleConfig
	node  NodeID
	stage Stage

	epoch    int64
	applied  uint64
	ready    bool
	leaving  bool
	failure  Code
	began    time.Duration // when the present registration was first tried
	inFlight bool
	sent     time.Duration // the request in flight, or the last
	next     time.Duration // when to send again
	heard    time.Duration // when the last heartbeat that was answered was sent
	contact  bool          // heard means something
}

// NewLifecycle returns the life of a process that has not been started.
func NewLifecycle(cfg LifecycleConfig, node NodeID) *Lifecycle {
	cfg.Session = orDefault(cfg.Session, 9*time.Second)
	cfg.Interval = orDefault(cfg.Interval, 2*time.Second)
	cfg.Timeout = orDefault(cfg.Timeout, 2*time.Second)
	cfg.Duplicate = orDefault(cfg.Duplicate, 60*time.Second)
	return &Lifecycle{cfg: cfg, node: node, epoch: NoEpoch}
}

// Start begins to register.
func (l *Lifecycle) Start(now time.Duration) {
	if l.stage == StageStarting {
		l.register(now)
	}
}

func (l *Lifecycle) register(now time.Duration) {
	l.stage, l.inFlight, l.began, l.next, l.contact = StageRegistering, false, now, now, false
}

// Stage returns where the node is.
func (l *Lifecycle) Stage() Stage { return l.stage }

// Epoch returns the epoch of the registration, NoEpoch before the first.
func (l *Lifecycle) Epoch() int64 { return l.epoch }

// Failure returns why the node must stop.
func (l *Lifecycle) Failure() Code { return l.failure }

// Ready says that the node may lead and be in sync: its logs have been recovered. Until then it wants to be fenced.
func (l *Lifecycle) Ready(now time.Duration) { l.ready = true; l.hurry(now) }

// Applied says up to which index the node has applied the log.
func (l *Lifecycle) Applied(now time.Duration, index uint64) {
	before := l.applied
	l.applied = max(l.applied, index)
	if l.stage == StageFenced && int64(before) < l.epoch && int64(l.applied) >= l.epoch {
		l.hurry(now)
	}
}

// Shutdown begins a controlled shutdown: the node goes on until its stage is StageDone.
func (l *Lifecycle) Shutdown(now time.Duration) {
	l.leaving = true
	switch l.stage {
	case StageStarting, StageRegistering, StageFailed:
		l.stage = StageDone
	case StageFenced, StageActive:
		l.stage = StageShuttingDown
		l.hurry(now)
	}
}

// hurry makes the next request due.
func (l *Lifecycle) hurry(now time.Duration) { l.next = min(l.next, now) }

// Poll returns what is to be sent now. Whatever it returns is then under way, until its answer, Lost, or Timeout.
func (l *Lifecycle) Poll(now time.Duration) Action {
	if l.inFlight && now-l.sent >= l.cfg.Timeout {
		l.Lost(now)
	}
	if l.inFlight || now < l.next {
		return ActNothing
	}
	switch l.stage {
	case StageRegistering:
		l.inFlight, l.sent = true, now
		return ActRegister
	case StageFenced, StageActive, StageShuttingDown:
		l.inFlight, l.sent = true, now
		return ActHeartbeat
	}
	return ActNothing
}

// Deadline returns when Poll has something next; false if never.
func (l *Lifecycle) Deadline() (time.Duration, bool) {
	switch l.stage {
	case StageRegistering, StageFenced, StageActive, StageShuttingDown:
		if l.inFlight {
			return l.sent + l.cfg.Timeout, true
		}
		return l.next, true
	}
	return 0, false
}

// Heartbeat returns what to send for ActHeartbeat.
func (l *Lifecycle) Heartbeat() Heartbeat {
	return Heartbeat{Node: l.node, Epoch: l.epoch, Applied: l.applied, WantFence: !l.ready && !l.leaving, WantShutdown: l.leaving}
}

// retry is how long to wait after a failure.
func (l *Lifecycle) retry() time.Duration { return l.cfg.Interval / 8 }

// Lost says that the request under way has failed without an answer.
func (l *Lifecycle) Lost(now time.Duration) {
	if l.inFlight {
		l.inFlight = false
		l.next = now + l.retry()
	}
}

// Registered is the answer to ActRegister.
func (l *Lifecycle) Registered(now time.Duration, code Code, epoch int64) {
	if l.stage != StageRegistering {
		return
	}
	l.inFlight = false
	switch code {
	case OK:
		l.stage, l.epoch, l.next = StageFenced, epoch, now
		l.heard, l.contact = now, false
	case NotController, Conflict:
		l.next = now + l.retry()
	case DuplicateBrokerRegistration:
		if l.next = now + l.retry(); now-l.began >= l.cfg.Duplicate {
			l.fail(code)
		}
	default:
		l.fail(code)
	}
}

func (l *Lifecycle) fail(code Code) { l.stage, l.failure = StageFailed, code }

// Answered is the answer to ActHeartbeat.
func (l *Lifecycle) Answered(now time.Duration, a HeartbeatAnswer) {
	if !l.inFlight || l.stage == StageRegistering {
		return
	}
	sent := l.sent
	l.inFlight, l.next = false, now+l.cfg.Interval
	switch a.Code {
	case OK:
	case StaleBrokerEpoch:
		if l.leaving { // somebody else has the id: nothing is led here any more
			l.stage = StageDone
		} else {
			l.register(now)
		}
		return
	case BrokerIDNotRegistered:
		if l.fail(a.Code); l.leaving {
			l.stage = StageDone
		}
		return
	default:
		l.next = now + l.retry()
		return
	}
	l.heard, l.contact = sent, true
	switch {
	case l.stage == StageShuttingDown:
		if l.next = now + l.cfg.Interval/20; a.MayShutDown {
			l.stage = StageDone
		}
	case a.Fenced:
		l.stage = StageFenced
		if l.ready {
			l.next = now + l.retry()
		}
	default:
		l.stage = StageActive
	}
}

// Isolated reports that no heartbeat sent within the session timeout has been answered: the controller may have fenced the node and elected
// others. A leader then acknowledges nothing under acks=all. It never is later than the controller's fence, as long as the two clocks run at one speed.
func (l *Lifecycle) Isolated(now time.Duration) bool {
	switch l.stage {
	case StageActive, StageShuttingDown:
		return !l.contact || now-l.heard >= l.cfg.Session
	}
	return true
}

// Until returns when Isolated begins to be true, if nothing is answered until then; now or before if it is.
func (l *Lifecycle) Until(now time.Duration) time.Duration {
	if l.Isolated(now) {
		return now
	}
	return l.heard + l.cfg.Session
}
