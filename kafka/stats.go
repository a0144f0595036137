package kafka

import "sync/atomic"

// counters are what a server counts.
type counters struct {
	connections atomic.Int64
	requests    [128]atomic.Int64 // by API key
}

func (c *counters) count(key int16) {
	if key >= 0 && int(key) < len(c.requests) {
		c.requests[key].Add(1)
	}
}

// Stats is a snapshot of a server's counters and gauges.
type Stats struct {
	Brokers       int              // that run
	Connections   int64            // open now
	Requests      map[string]int64 // since New, by the API's name
	FetchSessions int              // cached now (KIP-227)
	Evicted       int64            // fetch sessions that made room for others
	MemoryInUse   int64            // bytes of requests and answers in hand
}

// Stats returns the server's figures.
func (s *Server) Stats() Stats {
	st := Stats{Brokers: len(s.alive()), Connections: s.counters.connections.Load(), Requests: map[string]int64{}, MemoryInUse: s.memory.Used()}
	for key := range s.counters.requests {
		if n := s.counters.requests[key].Load(); n > 0 {
			st.Requests[apiName(int16(key))] = n
		}
	}
	st.FetchSessions, st.Evicted = s.fetches.figures()
	return st
}
