package peer

import "time"

// Stats are a peer's counters, of all connections to it together.
type Stats struct {
	NodeID    int32
	Address   string
	Connected bool
	Accepted  bool          // there is a connection from it, too
	RoundTrip time.Duration // of the last ping; 0 before there was one
	Connects  uint64
	Failures  uint64 // attempts to connect that failed
	Calls     uint64 // that were sent
	InFlight  int    // calls that wait for an answer
	Messages  uint64 // that were sent
	Dropped   uint64 // messages that were not, because too many waited
	Queued    int    // messages that wait
	Read      uint64 // bytes
	Written   uint64 // bytes
	Err       error  // why it is not connected
}

// Stats returns the peer's counters.
func (p *Peer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.statsLocked()
}

func (p *Peer) statsLocked() Stats {
	s := p.past
	s.NodeID, s.Address, s.Connected, s.Connects, s.Failures, s.Err = p.node, p.address, p.link != nil, p.connects, p.failures, p.err
	s.Queued, s.Messages, s.Dropped = p.queue.counts()
	s.InFlight = 0
	if l := p.link; l != nil {
		s.Calls += l.calls.Load()
		s.Read += l.meter.read.Load()
		s.Written += l.written.Load()
		l.mu.Lock()
		s.InFlight, s.RoundTrip = len(l.pending), l.rtt
		l.mu.Unlock()
	}
	return s
}

// Stats returns the counters of all peers that SetPeer has named, in no order.
func (e *Endpoint) Stats() []Stats {
	e.mu.Lock()
	peers := make([]*Peer, 0, len(e.peers))
	from := map[int32]bool{}
	for node, p := range e.peers {
		peers = append(peers, p)
		from[node] = e.accepted[node] != nil
	}
	e.mu.Unlock()
	var all []Stats
	for _, p := range peers {
		s := p.Stats()
		s.Accepted = from[s.NodeID]
		all = append(all, s)
	}
	return all
}
