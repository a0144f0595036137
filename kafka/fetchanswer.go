package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

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
	if x.full && s.settings().fetchSessionSlots > 0 {
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
	// Null is Kafka's word where it has not looked for any: where it has not read, or has thrown away what was cut off.
	looked := it.diverging.LeaderEpoch < 0 && it.replica < 0 && !(it.result != nil && it.result.DoesNotFit && it.want.maxBytes > 0)
	if committed && looked {
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
