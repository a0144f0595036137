package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// fetches answers other nodes' fetches of what this one leads. A request that finds nothing waits on the goroutine of its call, and is woken by the
// first append; the bytes of its answer are the log's own.
type fetches struct {
	manager *replicaManager

	mu       sync.Mutex // guards all below, and the sessions in cache
	cache    *replica.SessionCache
	open     map[*replica.FetchSession]*fetchSession
	throttle replica.Throttle
}

// fetchSession is what is beside a replica.FetchSession.
type fetchSession struct {
	s      *replica.FetchSession
	signal chan struct{} // of one: something has changed
	nudged bool          // answer whatever there is
}

// watcher is a partition in a session. It is the SessionPartition's Owner.
type watcher struct {
	f  *fetches
	s  *fetchSession
	p  *replica.SessionPartition
	h  *hosted     // nil: not here when the session was made
	at atomic.Bool // it has the greatest news already: nobody needs to say it again
}

const (
	// maxFetchBytes bounds an answer: a frame has room for it and a batch above the limit.
	maxFetchBytes = 32 << 20
	// smallNewsWait is how long a new high watermark waits for records to go with (KIP-1166).
	smallNewsWait = 5 * time.Millisecond
)

// touch tells the sessions of watchers that a partition has news. No lock is held.
func touch(watchers []*watcher, news replica.News) {
	for _, w := range watchers {
		if w.at.Load() {
			continue
		}
		w.f.mu.Lock()
		w.touchLocked(news)
		w.f.mu.Unlock()
	}
}

func (w *watcher) touchLocked(news replica.News) {
	if w.s.s.Closed() || w.s.s.Partition(w.p.TopicPartition) != w.p {
		return
	}
	before := w.s.s.News()
	w.s.s.Touch(w.p, news)
	w.at.Store(news == replica.BigNews || w.at.Load())
	if w.s.s.News() > before {
		notify(w.s.signal)
	}
}

// answer is what a reply borrows until it is written.
type answer struct {
	resp   replica.FetchResponse
	cuts   []replica.Cut
	head   []byte
	pieces [][]byte
	leases []partition.Lease
}

var answers = sync.Pool{New: func() any { return new(answer) }}

func (a *answer) release() {
	for i := range a.leases {
		a.leases[i].Release()
	}
	clear(a.leases)
	clear(a.pieces)
	clear(a.cuts)
	clear(a.resp.Partitions)
	a.leases, a.pieces, a.cuts, a.resp.Partitions = a.leases[:0], a.pieces[:0], a.cuts[:0], a.resp.Partitions[:0]
	answers.Put(a)
}

// reply makes the reply: the head's bytes with the records between.
func (a *answer) reply() peer.Reply {
	a.head, a.cuts = replica.AppendFetchResponse(a.head[:0], a.cuts[:0], &a.resp)
	from := 0
	for _, c := range a.cuts {
		a.pieces = append(a.pieces, a.head[from:c.At], c.Records)
		from = c.At
	}
	a.pieces = append(a.pieces, a.head[from:])
	return peer.Reply{Pieces: a.pieces, Release: a.release}
}

// serve answers a Fetch of a replica.
func (f *fetches) serve(ctx context.Context, from replica.NodeID, body []byte) (peer.Reply, error) {
	m := f.manager
	var req replica.FetchRequest
	if err := replica.ReadFetchRequest(&req, body); err != nil {
		return peer.Reply{}, err
	}
	if req.Node != from {
		return peer.Reply{}, fmt.Errorf("%w: node %d fetches as %d", replica.ErrMalformedFetch, from, req.Node)
	}
	now := m.now()
	a := answers.Get().(*answer)
	a.resp.Code, a.resp.SessionID = replica.None, 0
	var moved []*hosted
	f.mu.Lock()
	var changed []*replica.SessionPartition
	s, code := f.cache.Request(&req, now, func(p *replica.SessionPartition) { changed = append(changed, p) }, f.gone)
	if code != replica.None {
		f.mu.Unlock()
		a.resp.Code = code
		return a.reply(), nil
	}
	m.seen(from).Store(int64(now))
	own := f.open[s]
	if own == nil {
		maps.DeleteFunc(f.open, func(s *replica.FetchSession, _ *fetchSession) bool { return s.Closed() }) // those without partitions are not told to gone
		own = &fetchSession{s: s, signal: make(chan struct{}, 1)}
		if f.open == nil {
			f.open = map[*replica.FetchSession]*fetchSession{}
		}
		f.open[s] = own
	}
	own.nudged = false
	for _, p := range changed {
		if f.position(own, p, &req, now) {
			moved = append(moved, p.Owner.(*watcher).h)
		}
	}
	f.mu.Unlock()
	for _, h := range moved {
		h.mu.Lock()
		watchers := h.watchers
		h.mu.Unlock()
		touch(watchers, replica.SmallNews)
	}
	f.await(ctx, own, &req, now, a)
	if s.ID() == 0 {
		f.mu.Lock()
		f.close(own)
		f.mu.Unlock()
	}
	m.counts.bytesOut.Add(uint64(a.bytes()))
	return a.reply(), nil
}

func (a *answer) bytes() (n int) {
	for i := range a.resp.Partitions {
		n += len(a.resp.Partitions[i].Records)
	}
	return n
}

// position takes note of what a request says of a partition, and reports whether the high watermark has moved. mu is held.
func (f *fetches) position(own *fetchSession, p *replica.SessionPartition, req *replica.FetchRequest, now time.Duration) (moved bool) {
	m := f.manager
	w, _ := p.Owner.(*watcher)
	if w == nil {
		w = &watcher{f: f, s: own, p: p}
		p.Owner = w
	}
	if w.h == nil {
		if h := m.hosted(p.TopicPartition); h != nil {
			h.mu.Lock()
			h.watchers = append(slices.Clip(h.watchers), w)
			h.mu.Unlock()
			w.h = h
		}
	}
	h := w.h
	if h == nil {
		w.touchLocked(replica.BigNews)
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leader == nil {
		w.touchLocked(replica.BigNews)
		return false
	}
	fetch := replica.Fetch{Node: req.Node, BrokerEpoch: req.BrokerEpoch, Position: p.Position}
	a, err := h.leader.Check(copyLog{h.copy}, &fetch)
	if err != nil || a.Code != replica.None || a.Diverging() {
		w.touchLocked(replica.BigNews)
		return false
	}
	_, e := h.leader.Fetched(&fetch, now)
	moved = h.carryOutLocked(e)
	switch {
	case p.Offset < int64(h.copy.End()):
		w.touchLocked(replica.BigNews)
	case !p.Knows(h.leader.HighWatermark(), int64(h.copy.Start())):
		w.touchLocked(replica.SmallNews)
	}
	return moved
}

// await waits until there is something to say, or the request's time is over, and fills the answer.
func (f *fetches) await(ctx context.Context, own *fetchSession, req *replica.FetchRequest, since time.Duration, a *answer) {
	m := f.manager
	wait := min(req.MaxWait, m.node.config.RequestTimeout)
	var over, ripe atomic.Bool
	stop := m.clock.AfterFunc(wait, func() {
		over.Store(true)
		notify(own.signal)
	})
	defer func() { stop() }()
	soon := func() bool { return false }
	defer func() { soon() }()
	lingers := false
	for {
		f.mu.Lock()
		news := own.s.News()
		end := over.Load() || own.nudged || own.s.Closed() || ctx.Err() != nil || m.ctx.Err() != nil
		if news == replica.BigNews || news == replica.SmallNews && (ripe.Load() || end) || end {
			f.fill(own, req, a)
			if len(a.resp.Partitions) > 0 || end || own.s.ID() == 0 {
				f.mu.Unlock()
				return
			}
			news = replica.NoNews
		}
		f.mu.Unlock()
		if news == replica.SmallNews && !lingers {
			lingers = true
			soon = m.clock.AfterFunc(smallNewsWait, func() {
				ripe.Store(true)
				notify(own.signal)
			})
		}
		select {
		case <-own.signal:
		case <-ctx.Done():
		case <-m.ctx.Done():
		}
	}
}

// fill puts what there is to say into the answer. mu is held.
func (f *fetches) fill(own *fetchSession, req *replica.FetchRequest, a *answer) {
	m := f.manager
	a.resp.SessionID = own.s.ID()
	if own.s.Closed() {
		a.resp.Code = replica.FetchSessionIDNotFound
		return
	}
	most := min(int(req.MaxBytes), m.node.config.FetchBytes, maxFetchBytes)
	own.s.Fill(&a.resp, most, func(p *replica.SessionPartition, room int, first bool) replica.Answer {
		return f.read(p, req, room, first, a)
	})
}

// refused is an answer that has nothing but a code.
func refused(c replica.Code) replica.Answer {
	return replica.Answer{Code: c, HighWatermark: -1, LogStart: -1, LogEnd: -1, DivergingEpoch: replica.NoEpoch, DivergingEnd: replica.NoOffset,
		Leader: replica.NoNode, LeaderEpoch: replica.NoEpoch}
}

// read answers for one partition. The position is judged again with the bytes, under one lock: nothing can be cut in between. mu is held.
func (f *fetches) read(p *replica.SessionPartition, req *replica.FetchRequest, room int, first bool, a *answer) replica.Answer {
	w := p.Owner.(*watcher)
	w.at.Store(false)
	h := w.h
	if h == nil {
		return refused(replica.UnknownTopicID)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leader == nil {
		return refused(replica.NotLeaderOrFollower)
	}
	fetch := replica.Fetch{Node: req.Node, BrokerEpoch: req.BrokerEpoch, Position: p.Position}
	said, err := h.leader.Check(copyLog{h.copy}, &fetch)
	if err != nil {
		f.manager.after(0, func() { h.trouble(err) })
		return refused(replica.KafkaStorageError)
	}
	if said.Code != replica.None || said.Diverging() || p.Offset >= int64(h.copy.End()) {
		return said
	}
	if room <= 0 && !first {
		f.later(w, 0)
		return said
	}
	behind := !slices.Contains(h.leader.ISR(), req.Node)
	if behind {
		allowed := f.throttle.Budget(f.manager.now(), room)
		if allowed == 0 {
			f.later(w, f.throttle.Wait(f.manager.now()))
			return said
		}
		room = allowed
	}
	var out partition.FetchResult
	if err := h.copy.Read(partition.Offset(p.Offset), max(room, 1), &out); err != nil {
		if !errors.Is(err, partition.ErrOffsetOutOfRange) {
			f.manager.after(0, func() { h.trouble(err) })
		}
		return refused(replica.KafkaStorageError)
	}
	if !first && len(out.Batches) > room {
		out.Lease.Release()
		f.later(w, 0)
		return said
	}
	if behind {
		f.throttle.Spend(len(out.Batches))
	}
	said.Records = out.Batches
	a.leases = append(a.leases, out.Lease)
	return said
}

// later has a partition looked at again after a while. mu is held.
func (f *fetches) later(w *watcher, d time.Duration) {
	f.manager.after(d, func() { touch([]*watcher{w}, replica.BigNews) })
}

// gone forgets a partition of a session. mu is held.
func (f *fetches) gone(p *replica.SessionPartition) {
	w, _ := p.Owner.(*watcher)
	if w == nil {
		return
	}
	if w.s.s.Closed() {
		delete(f.open, w.s.s)
		notify(w.s.signal)
	}
	w.drop()
}

// close ends a session of one request. mu is held.
func (f *fetches) close(own *fetchSession) {
	delete(f.open, own.s)
	for p := range own.s.Partitions() {
		if w, ok := p.Owner.(*watcher); ok {
			w.drop()
		}
	}
}

func (w *watcher) drop() {
	h := w.h
	if h == nil {
		return
	}
	h.mu.Lock()
	h.watchers = slices.DeleteFunc(slices.Clone(h.watchers), func(o *watcher) bool { return o == w })
	h.mu.Unlock()
}

// wake has the request of a node that waits here answered: the node has something else to ask for.
func (f *fetches) wake(node replica.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s, own := range f.open {
		if s.Node() == node {
			own.nudged = true
			notify(own.signal)
		}
	}
}
