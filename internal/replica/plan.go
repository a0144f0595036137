package replica

import (
	"bytes"
	"cmp"
	"slices"
)

// FetchPlan is the follower's end of a session of fetches from one node (KIP-227): what the next request has to say. A partition whose
// position has not changed since it was told is not named again.
type FetchPlan struct {
	id, epoch int32
	parts     map[TopicPartition]*planned
	order     []TopicPartition // of those that are to be named in the next request
	forgotten []TopicPartition
	full      bool
}

type planned struct {
	Position
	told   bool // in the session
	listed bool // in order
}

// NewFetchPlan returns a plan without partitions and without a session.
func NewFetchPlan() *FetchPlan {
	return &FetchPlan{parts: map[TopicPartition]*planned{}, full: true}
}

// Want says from where a partition is to be fetched.
func (f *FetchPlan) Want(tp TopicPartition, at Position) {
	p := f.parts[tp]
	if p == nil {
		p = &planned{}
		f.parts[tp] = p
	} else if p.told && p.Position == at {
		return
	}
	p.Position = at
	if !p.listed {
		p.listed = true
		f.order = append(f.order, tp)
	}
}

// Forget says that a partition is not to be fetched, for now or for ever.
func (f *FetchPlan) Forget(tp TopicPartition) {
	p := f.parts[tp]
	if p == nil {
		return
	}
	delete(f.parts, tp)
	if p.told {
		f.forgotten = append(f.forgotten, tp)
	}
}

// Len is the number of partitions that are to be fetched.
func (f *FetchPlan) Len() int { return len(f.parts) }

// Wanted reports whether a partition is to be fetched, and from where.
func (f *FetchPlan) Wanted(tp TopicPartition) (Position, bool) {
	p := f.parts[tp]
	if p == nil {
		return Position{}, false
	}
	return p.Position, true
}

// Request fills the session's part of the next request: id, epoch and partitions. Node, waits and limits are the caller's. The request is
// to be sent before the next call, and Answered or Lost to be called with its end.
func (f *FetchPlan) Request(req *FetchRequest) {
	req.SessionID, req.SessionEpoch = f.id, f.epoch
	req.Partitions, req.Forgotten = req.Partitions[:0], req.Forgotten[:0]
	if f.full {
		f.relist()
	} else {
		for _, tp := range f.forgotten {
			if p := f.parts[tp]; p == nil || !p.listed {
				req.Forgotten = append(req.Forgotten, tp)
			}
		}
	}
	f.forgotten = f.forgotten[:0]
	for _, tp := range f.order {
		p := f.parts[tp]
		if p == nil || !p.listed {
			continue // forgotten since
		}
		p.listed, p.told = false, true
		req.Partitions = append(req.Partitions, FetchPartition{TopicPartition: tp, Position: p.Position})
	}
	f.order = f.order[:0]
}

// relist names all partitions, in an order of their own.
func (f *FetchPlan) relist() {
	f.order = f.order[:0]
	for tp, p := range f.parts {
		p.listed, p.told = true, false
		f.order = append(f.order, tp)
	}
	slices.SortFunc(f.order, comparePartitions)
}

// Answered takes the end of a request: its response's code and session id. It reports whether the response's partitions are to be used.
func (f *FetchPlan) Answered(code Code, id int32) bool {
	if code != None {
		f.Lost()
		if code == FetchSessionIDNotFound || code == InvalidFetchSessionEpoch || code == FetchSessionTopicIDError {
			f.id = 0
		}
		return false
	}
	switch {
	case id == 0: // the leader has no place for a session
		f.id, f.epoch, f.full = 0, FirstEpoch, true
	case f.full:
		f.id, f.epoch, f.full = id, 1, false
	case id != f.id:
		f.Lost()
		return false
	default:
		f.epoch = nextSessionEpoch(f.epoch)
	}
	return true
}

// Lost says that nobody knows what became of the request: the next one is a full one, in a new session in place of the old.
func (f *FetchPlan) Lost() { f.epoch, f.full = FirstEpoch, true }

func comparePartitions(a, b TopicPartition) int {
	return cmp.Or(bytes.Compare(a.Topic[:], b.Topic[:]), cmp.Compare(a.Index, b.Index))
}
