package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/partition"
)

// fetchState is what a connection keeps from one Fetch to the next, so that none costs memory.
type fetchState struct {
	req       kmsg.FetchRequest
	resp      kmsg.FetchResponse
	items     []fetchItem
	positions []partition.FetchPosition
	results   []partition.FetchResult
	free      func() // releases results; made once

	copies  bool // records are copied before they are written, see gather
	cuts    []int
	records [][]byte
}

// fetchItem is one partition of a Fetch on its way.
type fetchItem struct {
	key    cachedKey
	want   fetchWant
	cached *cachedPartition // of an incremental fetch
	topic  partition.Topic
	code   int16
	early  bool // the code was found before the partition was looked at
	at     int  // in positions and results; -1: not fetched

	diverging   partition.FoundOffset // DivergingEpoch, if its epoch is not -1
	replica     int32                 // preferred read replica, -1: none
	mark, start int64                 // high watermark and log start offset of an answer without records
	result      *partition.FetchResult
}

// request is what the next request is decoded into. Nothing is left in it of the last one, which may have had fields that this
// one's version does not have.
func (f *fetchState) request() *kmsg.FetchRequest {
	f.req = kmsg.FetchRequest{Topics: f.req.Topics[:0], ForgottenTopics: f.req.ForgottenTopics[:0]}
	return &f.req
}

func (f *fetchState) drop() {
	f.release()
	*f = fetchState{}
}

// release gives back all that was borrowed.
func (f *fetchState) release() {
	for i := range f.results {
		f.results[i].Lease.Release()
		f.results[i].Batches = nil
	}
	if cap(f.items) > 64 { // an idle connection is to be small
		*f = fetchState{free: f.free, copies: f.copies}
		return
	}
	clear(f.items)
	clear(f.req.Topics)
	clear(f.req.ForgottenTopics)
	for i := range f.resp.Topics {
		f.resp.Topics[i].Topic = ""
	}
}

// fetchContext is how an answer is made (KIP-227).
type fetchContext struct {
	code        int16         // of a request that its session does not take
	session     *fetchSession // of an incremental fetch
	epoch       int32         // that session has after this request
	full        bool          // a session may be begun
	incremental bool
}

// handleFetch answers with whole batches, as they are on disk, when there are MinBytes or an error, or MaxWait is over. Who
// waits is woken by the append.
func handleFetch(s *session, c *call) (kmsg.Response, error) {
	req, f := c.req.(*kmsg.FetchRequest), &s.fetch
	resp := &f.resp
	if f.free == nil {
		f.free = f.release
	}
	c.release = f.free
	*resp = kmsg.FetchResponse{Version: c.version, Topics: resp.Topics[:0]}
	x := s.fetchContext(c, req)
	if resp.ErrorCode = x.code; x.code != codeNone {
		return resp, nil
	}
	now := s.prepare(c, req)
	if err := s.collect(c, req, now); err != nil {
		return nil, err
	}
	if c.version < 10 {
		f.withoutZstd()
	}
	if bytes := f.bytes(); s.throttleFetch(c, bytes) {
		f.release() // over the quota: an empty answer, of which nothing is remembered
		if x.incremental {
			resp.SessionID = x.session.id
		}
		return resp, nil
	}
	s.answerFetch(c, req, resp, x)
	return resp, nil
}

// fetchContext finds what the request is about: all that it names, or what its session has. It fills items.
func (s *session) fetchContext(c *call, req *kmsg.FetchRequest) fetchContext {
	f, cache := &s.fetch, &s.server.fetches
	f.items = f.items[:0]
	if req.SessionEpoch == 0 || req.SessionEpoch == -1 { // initial and final
		if req.SessionID != 0 {
			cache.remove(req.SessionID)
		}
		s.itemsOf(c, req)
		return fetchContext{full: req.SessionEpoch == 0}
	}
	session := cache.find(req.SessionID)
	if session == nil {
		return fetchContext{code: codeFetchSessionIDNotFound}
	}
	session.mu.Lock()
	defer session.mu.Unlock()
	switch {
	case session.epoch != req.SessionEpoch:
		return fetchContext{code: codeInvalidFetchSessionEpoch}
	case session.usesIDs != (c.version >= 13):
		return fetchContext{code: codeFetchSessionTopicIDError}
	}
	s.itemsOf(c, req)
	for i := range f.items {
		key := f.items[i].key
		if session.parts[key] == nil {
			key.name = string([]byte(key.name)) // it points into the frame
		}
		session.put(key, f.items[i].want)
	}
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, p := range t.Partitions {
			session.forget(fetchKey(c, t.Topic, t.TopicID, p))
		}
	}
	if len(session.parts) == 0 {
		cache.remove(session.id)
		f.items = f.items[:0]
		return fetchContext{}
	}
	f.items = f.items[:0]
	for p := session.ring.next; p != &session.ring; p = p.next {
		f.items = append(f.items, fetchItem{key: p.key, want: p.want, cached: p})
	}
	session.epoch = nextEpoch(session.epoch)
	cache.resized(session, len(session.parts))
	return fetchContext{session: session, epoch: session.epoch, incremental: true}
}

func fetchKey(c *call, name string, id [16]byte, p int32) cachedKey {
	if c.version >= 13 {
		return cachedKey{id: id, partition: p}
	}
	return cachedKey{name: name, partition: p}
}

// itemsOf makes items of the request's partitions.
func (s *session) itemsOf(c *call, req *kmsg.FetchRequest) {
	f := &s.fetch
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			f.items = append(f.items, fetchItem{key: fetchKey(c, t.Topic, t.TopicID, p.Partition), want: fetchWant{
				offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes, leaderEpoch: p.CurrentLeaderEpoch, fetchedEpoch: p.LastFetchedEpoch,
			}})
		}
	}
}

// collect fetches, waiting if it may.
func (s *session) collect(c *call, req *kmsg.FetchRequest, now bool) error {
	f := &s.fetch
	if len(f.positions) == 0 {
		f.results = f.results[:0]
		return nil
	}
	limit := s.fetchQuota(c, min(max(int(req.MaxBytes), 1), max(int(s.settings().fetchMaxBytes), 1)))
	r := partition.FetchRequest{
		Partitions: f.positions, MinBytes: min(int(req.MinBytes), limit), MaxBytes: limit, ReadCommitted: req.IsolationLevel == 1, Reuse: f.results,
		AllowFollower: s.server.node != nil && c.version >= 11, // whose clients know of other replicas
	}
	if !now && req.MinBytes > 0 {
		r.MaxWait = max(time.Duration(req.MaxWaitMillis)*time.Millisecond, 0)
	}
	began := s.elapsed()
	results, err := s.server.store.Fetch(c.ctx, r)
	s.waited(s.elapsed() - began)
	if err != nil && c.ctx.Err() != nil { // a shutdown: what there is
		r.MaxWait = 0
		results, err = s.server.store.Fetch(context.Background(), r)
	}
	if err != nil {
		return err
	}
	f.results = results
	for i := range f.items {
		it := &f.items[i]
		if it.at < 0 {
			continue
		}
		it.result = &f.results[it.at]
		if err := it.result.Err; err != nil {
			it.code = s.fetchCode(c, it, err)
			if errors.Is(err, partition.ErrClosed) {
				return err
			}
		}
	}
	return nil
}

// fetchCode is the code for an error of the store. It fences those who wait when the leader epoch rises; what that means
// for a client that has no epoch is said by who leads now.
func (s *session) fetchCode(c *call, it *fetchItem, err error) int16 {
	if errors.Is(err, partition.ErrFencedLeaderEpoch) {
		if err = s.serves(&it.topic, it.key.partition, it.want.leaderEpoch, false); err == nil {
			err = errNotLeader // it moved, and came back
		}
	}
	if c.version < 13 && errors.Is(err, partition.ErrUnknownTopicID) {
		err = partition.ErrUnknownTopicOrPartition // deleted, and created again, meanwhile
	}
	return errorCode(err, c.key, c.version)
}

// bytes is how many bytes of records there are.
func (f *fetchState) bytes() (n int) {
	for i := range f.results {
		n += len(f.results[i].Batches)
	}
	return n
}

// withoutZstd is for clients that do not know zstd: batches from the first one of that codec on are left out, and where
// there is none before it the partition answers UNSUPPORTED_COMPRESSION_TYPE.
func (f *fetchState) withoutZstd() {
	for i := range f.items {
		it := &f.items[i]
		if it.result == nil || len(it.result.Batches) == 0 {
			continue
		}
		keep := 0
		err := mmap.Guard(func() {
			for rest := it.result.Batches; len(rest) > 0; rest = it.result.Batches[keep:] {
				b, err := batch.Peek(rest)
				if err != nil || b.Codec() == partition.CodecZstd {
					break
				}
				keep += len(b)
			}
		})
		if err != nil || keep == 0 {
			it.code = codeUnsupportedCompressionType
			it.result.Lease.Release()
		}
		it.result.Batches = it.result.Batches[:keep:keep]
	}
}
