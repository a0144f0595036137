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

func (f *fetchState) request() *kmsg.FetchRequest { return &f.req }

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

// prepare finds each item's topic and says what is wrong with it. It reports whether the answer is not to wait.
func (s *session) prepare(c *call, req *kmsg.FetchRequest) (now bool) {
	f := &s.fetch
	f.positions = f.positions[:0]
	for i := range f.items {
		it := &f.items[i]
		it.at, it.replica, it.diverging.LeaderEpoch, it.mark, it.start, it.result, it.early = -1, -1, -1, -1, -1, nil, true
		var err error
		if it.key.name == "" && c.version < 13 {
			err = partition.ErrUnknownTopicOrPartition
		} else if it.topic, err = s.server.store.FindTopic(it.key.name, it.key.id); err != nil && c.version < 13 && !s.authorize(opRead, resourceTopic, it.key.name) {
			it.code = codeTopicAuthorizationFailed
			continue
		}
		if err != nil {
			it.code = errorCode(err, c.key, c.version)
			continue
		}
		if !s.mayFetch(req, &it.topic) {
			it.code = codeTopicAuthorizationFailed
			continue
		}
		if it.key.partition < 0 || it.key.partition >= it.topic.Partitions() {
			it.code = codeUnknownTopicOrPartition
			continue
		}
		// From here on an error is one of the partition's, which ends the wait.
		it.early = false
		if err := s.prepareOne(c, req, it); err != nil {
			it.code, now = errorCode(err, c.key, c.version), true
			continue
		}
		if it.replica >= 0 || it.diverging.LeaderEpoch >= 0 {
			now = true
			continue
		}
		it.at = len(f.positions)
		f.positions = append(f.positions, partition.FetchPosition{
			TopicPartition: partition.TopicPartition{Topic: it.topic.Name(), Partition: it.key.partition}, TopicID: it.topic.ID(),
			Offset: partition.Offset(it.want.offset), LeaderEpoch: it.topic.LeaderEpoch(it.key.partition), MaxBytes: max(int(it.want.maxBytes), 1),
		})
	}
	return now
}

// mayFetch reports whether the client may read a topic: a consumer by its right to read, a follower by that of the cluster.
func (s *session) mayFetch(req *kmsg.FetchRequest, t *partition.Topic) bool {
	if isFollower(req) {
		return s.authorizeCluster(opClusterAction)
	}
	return s.authorize(opRead, resourceTopic, t.Name())
}

// isFollower reports whether a broker fetches, to replicate.
func isFollower(req *kmsg.FetchRequest) bool { return req.ReplicaID >= 0 || req.ReplicaState.ID >= 0 }

// prepareOne checks leadership and epochs of one partition, finds a diverging epoch (KIP-320) and a nearer replica (KIP-392).
func (s *session) prepareOne(c *call, req *kmsg.FetchRequest, it *fetchItem) error {
	if isFollower(req) {
		// Nobody replicates this store by its listener.
		if err := s.serves(&it.topic, it.key.partition, it.want.leaderEpoch, false); err != nil || it.want.leaderEpoch < 0 {
			return errors.Join(err, errNotLeader)
		}
		return partition.ErrUnknownLeaderEpoch // what Kafka tells a broker that is no replica
	}
	at, _ := s.server.layout.at(&it.topic, it.key.partition)
	if err := s.serves(&it.topic, it.key.partition, it.want.leaderEpoch, c.version >= 11 && at.leader >= 0); err != nil {
		return err
	}
	if it.want.maxBytes < 0 {
		return errNegativeBytes
	}
	tp := partition.TopicPartition{Topic: it.topic.Name(), Partition: it.key.partition}
	if it.want.fetchedEpoch >= 0 {
		epoch, end, err := s.server.store.EpochEnd(c.ctx, tp, partition.LeaderEpoch(it.want.fetchedEpoch))
		if err != nil {
			return err
		}
		if epoch < 0 || end < 0 || it.want.offset < s.logStart(tp) {
			return partition.ErrOffsetOutOfRange
		}
		if int32(epoch) < it.want.fetchedEpoch || int64(end) < it.want.offset {
			it.diverging.LeaderEpoch, it.diverging.Offset = epoch, end
			return s.lookAt(tp, it)
		}
	}
	if at.leader == s.broker.id && req.Rack != "" {
		if id := s.nearerReplica(at, req.Rack); id >= 0 {
			it.replica = id
			return s.lookAt(tp, it)
		}
	}
	return nil
}

var errNegativeBytes = &protocolError{codeUnknownServerError, "fewer bytes than none are asked for"}

// lookAt reads what an answer without records says of its partition.
func (s *session) lookAt(tp partition.TopicPartition, it *fetchItem) error {
	found, err := s.server.store.LookUpOffset(context.Background(), tp, partition.TimestampLatest, partition.LeaderEpochUnknown, false)
	it.mark, it.start = int64(found.Offset), s.logStart(tp)
	return err
}

// rackAware is the replica.selector.class that Kafka comes with.
const rackAware = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

// nearerReplica returns an in-sync replica in the client's rack, if the leader is in another and the selector of replicas is
// Kafka's for racks; -1 otherwise.
func (s *session) nearerReplica(at placed, rack string) int32 {
	if s.settings().properties["replica.selector.class"] != rackAware || s.broker.Rack() == rack {
		return -1
	}
	for _, id := range at.isr {
		if b := s.server.brokerByID(id); b != nil && b.running.Load() && b.Rack() == rack && b.endpoint(s.listener.name) != nil {
			return id
		}
	}
	return -1
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

// answerFetch makes the answer of items: all of them, or with a session only those of which there is something to tell.
func (s *session) answerFetch(c *call, req *kmsg.FetchRequest, resp *kmsg.FetchResponse, x fetchContext) {
	f := &s.fetch
	if x.incremental {
		x.session.mu.Lock()
		defer x.session.mu.Unlock()
		if x.session.epoch != x.epoch { // somebody else has used it meanwhile
			f.release()
			resp.ErrorCode = codeInvalidFetchSessionEpoch
			return
		}
		resp.SessionID = x.session.id
	}
	var begun *fetchSession
	if x.full && len(f.items) > 0 && s.settings().fetchSessionSlots > 0 {
		begun = newFetchSession(c.version >= 13)
	}
	committed := req.IsolationLevel == 1
	for i := range f.items {
		it := &f.items[i]
		mark, start, records := it.figures()
		if x.incremental && !it.cached.news(mark, start, records, it) {
			continue
		}
		p := addFetchPartition(resp, it)
		p.HighWatermark, p.LogStartOffset, p.PreferredReadReplica, p.ErrorCode = mark, start, it.replica, it.code
		if p.LastStableOffset = -1; it.code == codeNone {
			p.LastStableOffset = mark
			it.fill(p, committed)
		}
		if it.early { // as Kafka has it
			p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		}
		s.fetchHints(c, resp, it, p)
		if x.incremental && records > 0 {
			it.cached.unlink()
			x.session.append(it.cached)
		}
		if begun != nil {
			key := it.key
			key.name = string([]byte(key.name)) // it points into the frame
			cached := begun.put(key, it.want)
			cached.news(mark, start, records, it)
		}
	}
	if begun != nil && s.server.fetches.add(begun, s.settings().fetchSessionSlots) {
		resp.SessionID = begun.id
	}
}

// figures are what a session compares.
func (it *fetchItem) figures() (mark, start int64, records int) {
	switch {
	case it.code != codeNone:
		return -1, -1, 0
	case it.result == nil:
		return it.mark, it.start, 0
	}
	return int64(it.result.HighWatermark), int64(it.result.LogStart), len(it.result.Batches)
}

// news reports whether there is anything in an answer that the client has not been told, and notes that it now has.
func (p *cachedPartition) news(mark, start int64, records int, it *fetchItem) bool {
	tell := records > 0 || p.highWatermark != mark || p.logStart != start || it.replica >= 0
	p.highWatermark, p.logStart = mark, start
	if it.code != codeNone || it.diverging.LeaderEpoch >= 0 {
		p.highWatermark = -1 // to be told again when that is over
		tell = true
	}
	return tell
}

// addFetchPartition adds a partition to the answer, in the storage of earlier answers; partitions of one topic that follow
// each other share its entry.
func addFetchPartition(resp *kmsg.FetchResponse, it *fetchItem) *kmsg.FetchResponseTopicPartition {
	n := len(resp.Topics)
	if n == 0 || resp.Topics[n-1].Topic != it.key.name || resp.Topics[n-1].TopicID != it.key.id {
		if n < cap(resp.Topics) {
			resp.Topics = resp.Topics[:n+1]
		} else {
			resp.Topics = append(resp.Topics, kmsg.FetchResponseTopic{})
		}
		resp.Topics[n] = kmsg.FetchResponseTopic{Topic: it.key.name, TopicID: it.key.id, Partitions: resp.Topics[n].Partitions[:0]}
		n++
	}
	t := &resp.Topics[n-1]
	k := len(t.Partitions)
	if k < cap(t.Partitions) {
		t.Partitions = t.Partitions[:k+1]
	} else {
		t.Partitions = append(t.Partitions, kmsg.FetchResponseTopicPartition{})
	}
	p := &t.Partitions[k]
	*p = kmsg.FetchResponseTopicPartition{Partition: it.key.partition, RecordBatches: noRecords}
	p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = -1, -1
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = -1, -1
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch = -1, -1
	return p
}

// noRecords are the records of an answer that has none: never null, which some clients do not survive.
var noRecords = []byte{}

// fill puts what was read into the answer.
func (it *fetchItem) fill(p *kmsg.FetchResponseTopicPartition, committed bool) {
	if committed {
		p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	if it.diverging.LeaderEpoch >= 0 {
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = int32(it.diverging.LeaderEpoch), int64(it.diverging.Offset)
	}
	r := it.result
	if r == nil {
		return
	}
	p.LastStableOffset = int64(r.LastStable)
	if len(r.Batches) > 0 {
		p.RecordBatches = r.Batches
	}
	for _, a := range r.Aborted {
		p.AbortedTransactions = append(p.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.ProducerID, FirstOffset: int64(a.FirstOffset)})
	}
}

// fetchHints names the leader of a partition that this broker does not lead, or whose epoch has changed (KIP-951).
func (s *session) fetchHints(c *call, resp *kmsg.FetchResponse, it *fetchItem, p *kmsg.FetchResponseTopicPartition) {
	if c.version < 16 || it.code != codeNotLeaderOrFollower && it.code != codeFencedLeaderEpoch {
		return
	}
	id, epoch, e := s.leaderHint(&it.topic, it.key.partition)
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = id, epoch
	if e == nil {
		return
	}
	for i := range resp.Brokers {
		if resp.Brokers[i].NodeID == e.id {
			return
		}
	}
	b := kmsg.NewFetchResponseBroker()
	b.NodeID, b.Host, b.Port, b.Rack = e.id, e.host, e.port, e.rack
	resp.Brokers = append(resp.Brokers, b)
}
