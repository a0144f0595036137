package kafka

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/wire"
)

// encode appends an answer to Fetch 4 to 18 to r. Records are not copied: what goes between them is built in one buffer,
// which is then cut into pieces.
//
// The error is a fault of a mapping whose bytes had to be copied.
func (f *fetchState) encode(r *wire.Reply, resp *kmsg.FetchResponse) error {
	b, v := r.Buf, resp.Version
	flex := v >= 12
	f.cuts, f.records = f.cuts[:0], f.records[:0]
	b = binary.BigEndian.AppendUint32(b, uint32(resp.ThrottleMillis))
	if v >= 7 {
		b = binary.BigEndian.AppendUint16(b, uint16(resp.ErrorCode))
		b = binary.BigEndian.AppendUint32(b, uint32(resp.SessionID))
	}
	b = appendLen(b, len(resp.Topics), flex)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if v >= 13 {
			b = append(b, t.TopicID[:]...)
		} else {
			b = appendString(b, t.Topic, flex)
		}
		b = appendLen(b, len(t.Partitions), flex)
		for j := range t.Partitions {
			b = f.appendPartition(b, &t.Partitions[j], v)
		}
		b = appendTags(b, &t.UnknownTags, 0, flex)
	}
	if flex {
		b = appendFetchTail(b, resp)
	}
	return f.cut(r, b)
}

func (f *fetchState) appendPartition(b []byte, p *kmsg.FetchResponseTopicPartition, v int16) []byte {
	flex := v >= 12
	b = binary.BigEndian.AppendUint32(b, uint32(p.Partition))
	b = binary.BigEndian.AppendUint16(b, uint16(p.ErrorCode))
	b = binary.BigEndian.AppendUint64(b, uint64(p.HighWatermark))
	b = binary.BigEndian.AppendUint64(b, uint64(p.LastStableOffset))
	if v >= 5 {
		b = binary.BigEndian.AppendUint64(b, uint64(p.LogStartOffset))
	}
	switch {
	case p.AbortedTransactions != nil:
		b = appendLen(b, len(p.AbortedTransactions), flex)
	case flex:
		b = append(b, 0)
	default:
		b = append(b, 0xff, 0xff, 0xff, 0xff)
	}
	for i := range p.AbortedTransactions {
		a := &p.AbortedTransactions[i]
		b = binary.BigEndian.AppendUint64(b, uint64(a.ProducerID))
		b = binary.BigEndian.AppendUint64(b, uint64(a.FirstOffset))
		b = appendTags(b, &a.UnknownTags, 0, flex)
	}
	if v >= 11 {
		b = binary.BigEndian.AppendUint32(b, uint32(p.PreferredReadReplica))
	}
	switch {
	case p.RecordBatches != nil:
		b = appendLen(b, len(p.RecordBatches), flex)
	case flex:
		b = append(b, 0)
	default:
		b = append(b, 0xff, 0xff, 0xff, 0xff)
	}
	if len(p.RecordBatches) > 0 {
		f.cuts, f.records = append(f.cuts, len(b)), append(f.records, p.RecordBatches)
	}
	if !flex {
		return b
	}
	diverges := p.DivergingEpoch.Epoch != -1 || p.DivergingEpoch.EndOffset != -1
	moved := p.CurrentLeader.LeaderID != -1 || p.CurrentLeader.LeaderEpoch != -1
	n := p.UnknownTags.Len()
	if diverges {
		n++
	}
	if moved {
		n++
	}
	b = binary.AppendUvarint(b, uint64(n))
	if diverges {
		b = append(b, 0, 13)
		b = binary.BigEndian.AppendUint32(b, uint32(p.DivergingEpoch.Epoch))
		b = binary.BigEndian.AppendUint64(b, uint64(p.DivergingEpoch.EndOffset))
		b = append(b, 0)
	}
	if moved {
		b = appendLeader(b, 1, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch)
	}
	return p.UnknownTags.AppendEach(b)
}

func appendFetchTail(b []byte, resp *kmsg.FetchResponse) []byte {
	if resp.Version < 16 || len(resp.Brokers) == 0 {
		return appendTags(b, &resp.UnknownTags, 0, true)
	}
	b = binary.AppendUvarint(b, uint64(1+resp.UnknownTags.Len()))
	nodes := appendLen(nil, len(resp.Brokers), true)
	for i := range resp.Brokers {
		n := &resp.Brokers[i]
		nodes = appendNode(nodes, n.NodeID, n.Host, n.Port, n.Rack)
	}
	b = appendTag(b, 0, nodes)
	return resp.UnknownTags.AppendEach(b)
}

// cut puts the buffer and the records into r, in their order on the wire.
func (f *fetchState) cut(r *wire.Reply, b []byte) error {
	defer clear(f.records)
	if len(f.cuts) == 0 {
		r.Buf = b
		return nil
	}
	if f.copies {
		return f.gather(r, b)
	}
	r.Buf = b[:f.cuts[0]]
	for i, records := range f.records {
		r.Pieces = append(r.Pieces, records)
		if between := f.behind(b, i); len(between) > 0 {
			r.Pieces = append(r.Pieces, between)
		}
	}
	return nil
}

// behind is what follows the i-th records.
func (f *fetchState) behind(b []byte, i int) []byte {
	if i+1 < len(f.cuts) {
		return b[f.cuts[i]:f.cuts[i+1]]
	}
	return b[f.cuts[i]:]
}

// gather copies everything into one buffer, for connections whose writes go through this process, as TLS: a mapping may
// fault (a file truncated by somebody else), and only here that is one connection's error.
func (f *fetchState) gather(r *wire.Reply, b []byte) error {
	size := len(b)
	for _, records := range f.records {
		size += len(records)
	}
	out := append(make([]byte, 0, size), b[:f.cuts[0]]...)
	err := mmap.Guard(func() {
		for i, records := range f.records {
			out = append(append(out, records...), f.behind(b, i)...)
		}
	})
	r.Buf = out
	return err
}
