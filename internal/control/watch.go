package control

import (
	"time"

	"github.com/partlog/partlog/internal/mutant"
)

// Times, here and in Lifecycle, are durations since any moment that one node has for itself; a clock that is set has no part in them.

// WatchConfig says how the active controller watches. Zero fields have Kafka's defaults.
type WatchConfig struct {
	Session   time.Duration // broker.session.timeout.ms: a node silent for so long is fenced; 9 s
	Rebalance time.Duration // leader.imbalance.check.interval.seconds: preferred leaders are elected so often; 300 s, negative: never
	Unclean   time.Duration // unclean.leader.election.interval.ms: topics that allow it get leaders so often; 300 s, negative: never
}

// Heartbeat is what a node says of itself, every broker.heartbeat.interval.ms.
type Heartbeat struct {
	Node         NodeID
	Epoch        int64
	Applied      uint64 // index up to which the node has applied the log
	WantFence    bool
	WantShutdown bool
}

// HeartbeatAnswer answers it.
type HeartbeatAnswer struct {
	Code        Code // OK, StaleBrokerEpoch, BrokerIDNotRegistered, NotController
	Fenced      bool
	CaughtUp    bool // has applied its own registration
	MayShutDown bool // the controlled shutdown is done: the node may go
}

// Watch keeps the sessions of nodes at the active controller, and says which commands time has made due. The commands are proposed as any
// others; one that is lost is asked for again. It is for one goroutine, the one that applies to the Machine.
type Watch struct {
	cfg      WatchConfig
	m        *Machine // nil while this node is not the active controller
	sessions map[NodeID]*session

	rebalance, unclean time.Duration // when due
}

// session is what is known of a node since this node is the active controller.
type session struct {
	epoch    int64
	heard    time.Duration
	forgiven time.Duration // of the silence since then, see Held
	applied  uint64
	ended    bool // told that it may shut down: another process may take its place
	asked    bool // a command was proposed at this time
	proposed time.Duration
}

// NewWatch returns a Watch that does nothing until Reset.
func NewWatch(cfg WatchConfig) *Watch {
	cfg.Session = orDefault(cfg.Session, 9*time.Second)
	cfg.Rebalance = orDefault(cfg.Rebalance, 300*time.Second)
	cfg.Unclean = orDefault(cfg.Unclean, 300*time.Second)
	return &Watch{cfg: cfg}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Reset begins a time as active controller, with the state as applied so far: all sessions begin anew. It is also for a state
// that was restored from a snapshot meanwhile.
func (w *Watch) Reset(now time.Duration, m *Machine) {
	w.m, w.sessions = m, make(map[NodeID]*session, len(m.nodes))
	for _, n := range m.nodes {
		w.sessions[n.ID] = &session{epoch: n.Epoch, heard: now}
	}
	w.rebalance, w.unclean = now+w.cfg.Rebalance, now+w.cfg.Unclean
}

// Stop ends the time as active controller.
func (w *Watch) Stop() { w.m, w.sessions = nil, nil }

// Admit looks at a registration before it is proposed: DuplicateBrokerRegistration while another process with the id has a session, or another
// node the directory, so that whoever asks again and again does not fill the log. The
// command that it returns is to be proposed.
func (w *Watch) Admit(now time.Duration, r Register) (Register, Code) {
	r.Replaces = NoEpoch
	if w.m == nil {
		return r, NotController
	}
	if _, copied := w.m.copied(r); copied {
		return r, DuplicateBrokerRegistration
	}
	n, ok := w.m.Node(r.ID)
	if !ok || n.Incarnation == r.Incarnation {
		return r, OK
	}
	// Nobody is the process of the registration that a cluster is bootstrapped with.
	if s := w.session(now, n); n.Incarnation != [16]byte{} && !s.ended && !n.ShuttingDown && now-s.heard < w.cfg.Session && !mutant.On(mutant.SecondProcessAdmitted) {
		return r, DuplicateBrokerRegistration
	}
	r.Replaces = n.Epoch
	return r, OK
}

// AdmitOwn is Admit for a registration of the node that the Watch is of, by the process that it is of: whoever has the node's directory, and leads the quorum
// with it, knows that the process before is gone.
func (w *Watch) AdmitOwn(r Register) Register {
	r.Replaces = NoEpoch
	if w.m != nil {
		if n, ok := w.m.Node(r.ID); ok {
			r.Replaces = n.Epoch
		}
	}
	return r
}

// session returns the session of a node's present registration, which begins when it is first looked at.
func (w *Watch) session(now time.Duration, n Node) *session {
	s := w.sessions[n.ID]
	if s == nil || s.epoch != n.Epoch {
		s = &session{epoch: n.Epoch, heard: now}
		w.sessions[n.ID] = s
	}
	return s
}

// Applied is told of every command that was applied: new registrations get their session, and what was proposed for a node is done.
func (w *Watch) Applied(now time.Duration, r Result) {
	if w.m == nil {
		return
	}
	for _, id := range r.Nodes {
		if n, ok := w.m.Node(id); ok {
			w.session(now, n).asked = false
		} else {
			delete(w.sessions, id)
		}
	}
}

// Heartbeat takes a node's heartbeat; the commands are to be proposed. The answer tells what is already so, never what is proposed.
func (w *Watch) Heartbeat(now time.Duration, hb Heartbeat) (HeartbeatAnswer, []Command) {
	if w.m == nil || hb.Epoch > int64(w.m.applied) { // a new controller that has not yet applied the registration
		return HeartbeatAnswer{Code: NotController}, nil
	}
	n, ok := w.m.Node(hb.Node)
	switch {
	case !ok:
		return HeartbeatAnswer{Code: BrokerIDNotRegistered}, nil
	case n.Epoch != hb.Epoch:
		return HeartbeatAnswer{Code: StaleBrokerEpoch}, nil
	}
	s := w.session(now, n)
	s.heard, s.forgiven, s.applied = now, 0, max(s.applied, hb.Applied)
	answer := HeartbeatAnswer{Fenced: n.Fenced, CaughtUp: int64(hb.Applied) >= n.Epoch}
	var c Command
	switch {
	case n.Fenced && hb.WantShutdown:
		answer.MayShutDown, s.ended = true, true
	case n.Fenced:
		if !hb.WantFence && !n.ShuttingDown && !n.ControllerOnly && answer.CaughtUp {
			c = Unfence{Node: n.ID, Epoch: n.Epoch}
		}
	case hb.WantFence:
		c = Fence{Node: n.ID, Epoch: n.Epoch}
	case n.ShuttingDown:
		if w.m.leads[n.ID] == 0 && w.seen(now, n) {
			c = Fence{Node: n.ID, Epoch: n.Epoch}
		}
	case hb.WantShutdown && w.m.leads[n.ID] == 0:
		c = Fence{Node: n.ID, Epoch: n.Epoch}
	case hb.WantShutdown:
		c = BeginShutdown{Node: n.ID, Epoch: n.Epoch}
	}
	if c == nil || !w.mayPropose(now, s) {
		return answer, nil
	}
	return answer, []Command{c}
}

// seen reports whether all active nodes know that a node is shutting down, and so who leads instead.
func (w *Watch) seen(now time.Duration, shutting Node) bool {
	for _, n := range w.m.nodes {
		if n.Active() && n.ID != shutting.ID && w.session(now, n).applied < shutting.ShutdownIndex {
			return false
		}
	}
	return true
}

// mayPropose limits how often a command is asked for again.
func (w *Watch) mayPropose(now time.Duration, s *session) bool {
	if s.asked && now-s.proposed < w.cfg.Session/4 {
		return false
	}
	s.asked, s.proposed = true, now
	return true
}

// mostElections is how many partitions one Elect of the Watch has.
const mostElections = 1000

// Tick returns what has become due: fences of nodes whose sessions have ended, elections.
func (w *Watch) Tick(now time.Duration) (cs []Command) {
	if w.m == nil {
		return nil
	}
	for _, n := range w.m.nodes {
		if s := w.session(now, n); !n.Fenced && now-s.heard >= w.cfg.Session && w.mayPropose(now, s) {
			cs = append(cs, Fence{Node: n.ID, Epoch: n.Epoch})
		}
	}
	if w.cfg.Rebalance > 0 && now >= w.rebalance {
		w.rebalance = now + w.cfg.Rebalance
		if ps := w.m.imbalanced(mostElections); len(ps) > 0 {
			cs = append(cs, Elect{Partitions: ps})
			if len(ps) == mostElections {
				w.rebalance = now + w.cfg.Session/4
			}
		}
	}
	if w.cfg.Unclean > 0 && now >= w.unclean {
		w.unclean = now + w.cfg.Unclean
		if ps := w.m.uncleanly(mostElections); len(ps) > 0 {
			cs = append(cs, Elect{Unclean: true, Partitions: ps})
			if len(ps) == mostElections {
				w.unclean = now + w.cfg.Session/4
			}
		}
	}
	return cs
}

// Deadline returns when Tick is to be called next, at the latest; false if this node is not the active controller.
func (w *Watch) Deadline(now time.Duration) (time.Duration, bool) {
	if w.m == nil {
		return 0, false
	}
	at := now + w.cfg.Session
	for _, n := range w.m.nodes {
		if n.Fenced {
			continue
		}
		s := w.session(now, n)
		due := s.heard + w.cfg.Session
		if s.asked {
			due = max(due, s.proposed+w.cfg.Session/4)
		}
		at = min(at, due)
	}
	if w.cfg.Rebalance > 0 {
		at = min(at, w.rebalance)
	}
	if w.cfg.Unclean > 0 {
		at = min(at, w.unclean)
	}
	return max(at, now), true
}
