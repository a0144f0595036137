package replica

import (
	"iter"
	"maps"
	"time"

	"github.com/partlog/partlog/internal/mutant"
)

// News says why a partition of a session is worth an answer.
type News uint8

const (
	// NoNews: nothing that the follower does not know.
	NoNews News = iota
	// SmallNews: high watermark or log start offset are other than the follower knows (KIP-1166). It may wait a little for records.
	SmallNews
	// BigNews: records, a divergence, or an error. An answer goes at once.
	BigNews
)

// FetchSession is the leader's end of a session of fetches (KIP-227): which partitions one follower fetches, and from where. Only
// those are looked at that a request names or Touch tells of; a partition without news costs nothing.
type FetchSession struct {
	id    int32 // 0: for one request
	epoch int32 // that the next request must have
	node  NodeID
	under int64 // the epoch of the node's registration
	parts map[TopicPartition]*SessionPartition

	first, last *SessionPartition // those with news, in the order in which they are answered
	queued, big int
	used, made  time.Duration
	closed      bool
}

// SessionPartition is a partition of a session.
type SessionPartition struct {
	TopicPartition
	Position // as the newest request has told

	// Owner is for who owns the session: what serves the partition.
	Owner any

	high, start int64 // as the follower has told, or been told since; -1: it is to be told whatever they are
	news        News
	next, prev  *SessionPartition
}

// ID is the session's id, 0 for a session of one request.
func (s *FetchSession) ID() int32 { return s.id }

// Node is whose session it is.
func (s *FetchSession) Node() NodeID { return s.node }

// Len is the number of partitions.
func (s *FetchSession) Len() int { return len(s.parts) }

// LastUsed is when the newest request came.
func (s *FetchSession) LastUsed() time.Duration { return s.used }

// Closed reports whether the session is gone: closed by its follower, replaced, or evicted. Requests of it are refused.
func (s *FetchSession) Closed() bool { return s.closed }

// Partition is nil if the session does not have it.
func (s *FetchSession) Partition(tp TopicPartition) *SessionPartition { return s.parts[tp] }

// Partitions are all of the session's, in no order.
func (s *FetchSession) Partitions() iter.Seq[*SessionPartition] { return maps.Values(s.parts) }

// News is the greatest of all partitions' news. An answer is due with BigNews, and with SmallNews after a while.
func (s *FetchSession) News() News {
	switch {
	case s.big > 0:
		return BigNews
	case s.queued > 0:
		return SmallNews
	}
	return NoNews
}

// Touch tells that a partition has news. It costs no more than a few writes, whatever the number of partitions.
func (s *FetchSession) Touch(p *SessionPartition, n News) {
	if n <= p.news || mutant.On(mutant.SessionForgetsPartition) && p.high >= 0 {
		return
	}
	if p.news == NoNews {
		s.push(p)
	}
	if n == BigNews {
		s.big++
	}
	p.news = n
}

// Knows reports whether the follower has been told of this high watermark and log start offset. Its own log may begin later: it has deleted more.
func (p *SessionPartition) Knows(high, start int64) bool { return p.high == high && p.start >= start }

// fairPart is what a partition may have of an answer, in bytes, however many there are: Kafka's replica.fetch.max.bytes.
const fairPart = 1 << 20

// Fill appends to resp what the partitions with news have to say, oldest news first, until maxBytes of records are together. read
// answers for one partition with at most max bytes of records; if first is true nothing has been found yet, and a first batch that is
// larger than max is given whole. Each gets an equal part of what is left, but fairPart at least, so that one alone catches up with large answers and none waits
// for others that do. Partitions that had no more place keep their news. What says nothing new is left out.
func (s *FetchSession) Fill(resp *FetchResponse, maxBytes int, read func(p *SessionPartition, max int, first bool) Answer) {
	resp.SessionID = s.id
	first := true
	for n := s.queued; n > 0 && (maxBytes > 0 || first); n-- {
		p := s.first
		room := min(maxBytes, int(p.MaxBytes), max(maxBytes/n, fairPart))
		a := read(p, room, first)
		s.unlink(p)
		if !s.worth(p, &a) {
			continue
		}
		resp.Partitions = append(resp.Partitions, FetchAnswer{TopicPartition: p.TopicPartition, Answer: a})
		if len(a.Records) > 0 {
			maxBytes -= len(a.Records)
			first = false
		}
	}
}

// worth reports whether an answer says something new, and notes it as told.
func (s *FetchSession) worth(p *SessionPartition, a *Answer) bool {
	if a.Code != None {
		p.high = -1 // to be told again when it has healed
		return true
	}
	news := len(a.Records) > 0 || a.Diverging() || !p.Knows(a.HighWatermark, a.LogStart) || s.id == 0
	p.high, p.start = a.HighWatermark, a.LogStart
	return news
}

func (s *FetchSession) push(p *SessionPartition) {
	p.prev, p.next = s.last, nil
	if s.last != nil {
		s.last.next = p
	} else {
		s.first = p
	}
	s.last = p
	s.queued++
}

func (s *FetchSession) unlink(p *SessionPartition) {
	if p.news == NoNews {
		return
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		s.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		s.last = p.prev
	}
	p.prev, p.next = nil, nil
	s.queued--
	if p.news == BigNews {
		s.big--
	}
	p.news = NoNews
}

// update takes over what a request says. changed is called with each partition that it names, gone with each that it drops.
func (s *FetchSession) update(req *FetchRequest, changed, gone func(*SessionPartition)) {
	for _, tp := range req.Forgotten {
		if p := s.parts[tp]; p != nil {
			s.unlink(p)
			delete(s.parts, tp)
			gone(p)
		}
	}
	for i := range req.Partitions {
		f := &req.Partitions[i]
		p := s.parts[f.TopicPartition]
		if p == nil {
			p = &SessionPartition{TopicPartition: f.TopicPartition, high: -1, start: -1}
			s.parts[f.TopicPartition] = p
		}
		p.Position = f.Position
		if p.high >= 0 { // what it has done of what it was told: an answer that says where the logs part is not for more
			p.high, p.start = f.HighWatermark, f.LogStart
		}
		changed(p)
	}
}
