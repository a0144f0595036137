package replica

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FetchVersion is the version of Fetch between nodes: with topic ids, ReplicaState (KIP-903) and the follower's high watermark (KIP-1166).
const FetchVersion = 18

// logEndTag carries Answer.LogEnd with an OffsetOutOfRange, which saves a follower the ListOffsets that Kafka's asks with then, and is of
// the same moment as the refusal. It is far from the tags that Kafka gives out.
const logEndTag = 10_000

// ErrMalformedFetch is the error of a request or response between nodes that does not follow Kafka's protocol.
var ErrMalformedFetch = errors.New("malformed fetch")

// AppendFetchRequest appends the body of a Fetch request, without a header. scratch is kept for the next call; nil will do.
func AppendFetchRequest(dst []byte, r *FetchRequest, scratch *kmsg.FetchRequest) []byte {
	if scratch == nil {
		scratch = new(kmsg.FetchRequest)
	}
	k := scratch
	topics, forgotten := k.Topics[:0], k.ForgottenTopics[:0]
	*k = kmsg.FetchRequest{}
	k.Default()
	k.Version = FetchVersion
	k.ReplicaState.ID, k.ReplicaState.Epoch = int32(r.Node), r.BrokerEpoch
	k.MaxWaitMillis = int32(min(r.MaxWait.Milliseconds(), math.MaxInt32))
	k.MinBytes, k.MaxBytes = r.MinBytes, r.MaxBytes
	k.SessionID, k.SessionEpoch = r.SessionID, r.SessionEpoch
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if len(topics) == 0 || topics[len(topics)-1].TopicID != p.Topic {
			topics = growTopics(topics)
			topics[len(topics)-1].TopicID = p.Topic
		}
		t := &topics[len(topics)-1]
		w := kmsg.NewFetchRequestTopicPartition()
		w.Partition, w.CurrentLeaderEpoch, w.FetchOffset, w.LastFetchedEpoch = p.Index, p.LeaderEpoch, p.Offset, p.LastEpoch
		w.LogStartOffset, w.PartitionMaxBytes, w.HighWatermark = p.LogStart, p.MaxBytes, p.HighWatermark
		t.Partitions = append(t.Partitions, w)
	}
	for _, tp := range r.Forgotten {
		if len(forgotten) == 0 || forgotten[len(forgotten)-1].TopicID != tp.Topic {
			forgotten = append(forgotten, kmsg.FetchRequestForgottenTopic{TopicID: tp.Topic})
		}
		t := &forgotten[len(forgotten)-1]
		t.Partitions = append(t.Partitions, tp.Index)
	}
	k.Topics, k.ForgottenTopics = topics, forgotten
	return k.AppendTo(dst)
}

// growTopics adds a topic, with the partitions' memory of one that was there before.
func growTopics(t []kmsg.FetchRequestTopic) []kmsg.FetchRequestTopic {
	if len(t) < cap(t) {
		t = t[:len(t)+1]
		kept := t[len(t)-1].Partitions[:0]
		t[len(t)-1] = kmsg.FetchRequestTopic{Partitions: kept}
		return t
	}
	return append(t, kmsg.FetchRequestTopic{})
}

// Cut is a place in the bytes of AppendFetchResponse where records belong.
type Cut struct {
	At      int // after dst[:At]
	Records []byte
}

// AppendFetchResponse appends the body of a Fetch response, without a header and without its records, and to cuts where those are to be put
// in: they are copied nowhere. Offsets of cuts count from the beginning of dst.
func AppendFetchResponse(dst []byte, cuts []Cut, r *FetchResponse) ([]byte, []Cut) {
	b := binary.BigEndian.AppendUint32(dst, 0) // ThrottleMillis
	b = binary.BigEndian.AppendUint16(b, uint16(r.Code))
	b = binary.BigEndian.AppendUint32(b, uint32(r.SessionID))
	topics := 0
	for i := range r.Partitions {
		if i == 0 || r.Partitions[i].Topic != r.Partitions[i-1].Topic {
			topics++
		}
	}
	b = binary.AppendUvarint(b, uint64(topics)+1)
	for i := 0; i < len(r.Partitions); {
		n := i + 1
		for n < len(r.Partitions) && r.Partitions[n].Topic == r.Partitions[i].Topic {
			n++
		}
		b = append(b, r.Partitions[i].Topic[:]...)
		b = binary.AppendUvarint(b, uint64(n-i)+1)
		for ; i < n; i++ {
			b, cuts = appendAnswer(b, cuts, &r.Partitions[i])
		}
		b = append(b, 0)
	}
	return append(b, 0), cuts
}

func appendAnswer(b []byte, cuts []Cut, a *FetchAnswer) ([]byte, []Cut) {
	b = binary.BigEndian.AppendUint32(b, uint32(a.Index))
	b = binary.BigEndian.AppendUint16(b, uint16(a.Code))
	b = binary.BigEndian.AppendUint64(b, uint64(a.HighWatermark))
	b = binary.BigEndian.AppendUint64(b, math.MaxUint64) // LastStableOffset: -1, a follower finds it itself
	b = binary.BigEndian.AppendUint64(b, uint64(a.LogStart))
	b = append(b, 0)                                     // AbortedTransactions: null
	b = binary.BigEndian.AppendUint32(b, math.MaxUint32) // PreferredReadReplica: -1
	b = binary.AppendUvarint(b, uint64(len(a.Records))+1)
	if len(a.Records) > 0 {
		cuts = append(cuts, Cut{At: len(b), Records: a.Records})
	}
	tags := uint64(0)
	for _, has := range [...]bool{a.Diverging(), a.Leader != NoNode, a.LogEnd >= 0} {
		if has {
			tags++
		}
	}
	b = binary.AppendUvarint(b, tags)
	if a.Diverging() {
		b = append(b, 0, 13)
		b = binary.BigEndian.AppendUint32(b, uint32(a.DivergingEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(a.DivergingEnd))
		b = append(b, 0)
	}
	if a.Leader != NoNode {
		b = append(b, 1, 9)
		b = binary.BigEndian.AppendUint32(b, uint32(a.Leader))
		b = binary.BigEndian.AppendUint32(b, uint32(a.LeaderEpoch))
		b = append(b, 0)
	}
	if a.LogEnd >= 0 {
		b = binary.AppendUvarint(b, logEndTag)
		b = append(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(a.LogEnd))
	}
	return b, cuts
}
