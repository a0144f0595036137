package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
)

// nullBroker is the limit of what a client can do: it speaks enough of the protocol for producers and for one consumer a
// group, answers at once, drops what is produced, and answers fetches with the same bytes again and again.
type nullBroker struct {
	host       string
	port       int32
	partitions int
	mu         sync.Mutex
	ready      []byte // batches of about 1 MB, of records as long as the last one that was produced
	size       int    // of those records
}

var nullVersions = map[kmsg.Key][2]int16{
	kmsg.Produce: {3, 9}, kmsg.Fetch: {4, 12}, kmsg.ListOffsets: {1, 7}, kmsg.Metadata: {0, 12}, kmsg.ApiVersions: {0, 4},
	kmsg.InitProducerID: {0, 4}, kmsg.FindCoordinator: {0, 3}, kmsg.JoinGroup: {0, 5}, kmsg.SyncGroup: {0, 3}, kmsg.Heartbeat: {0, 3},
	kmsg.LeaveGroup: {0, 3}, kmsg.OffsetFetch: {1, 5}, kmsg.OffsetCommit: {2, 7},
}

func serveNull(partitions int) (string, func() error, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	a := l.Addr().(*net.TCPAddr)
	n := &nullBroker{host: a.IP.String(), port: int32(a.Port), partitions: partitions}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.serve(c)
		}
	}()
	return l.Addr().String(), l.Close, nil
}

func (n *nullBroker) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 64<<10)
	var frame, out, ready []byte
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		frame = slices.Grow(frame[:0], int(binary.BigEndian.Uint32(size[:])))[:binary.BigEndian.Uint32(size[:])]
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		var err error
		if out, err = n.answer(out[:0], frame, &ready); err != nil {
			return
		}
		if len(out) > 0 {
			binary.BigEndian.PutUint32(out, uint32(len(out)-4))
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}
}

func (n *nullBroker) answer(out, frame []byte, ready *[]byte) ([]byte, error) {
	key, version := kmsg.Key(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	body := frame[8:]
	if id := int16(binary.BigEndian.Uint16(body)); id > 0 {
		body = body[2+id:]
	} else {
		body = body[2:]
	}
	req := kmsg.RequestForKey(key.Int16())
	versions, known := nullVersions[key]
	if req == nil || !known {
		return nil, errors.New("unknown request")
	}
	ahead := key == kmsg.ApiVersions && version > versions[1]
	if ahead {
		version = 0 // and an error: the client asks again
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		body = body[1:] // no tags
	}
	if err := req.ReadFrom(body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	if ahead {
		resp.(*kmsg.ApiVersionsResponse).ErrorCode = kerr.UnsupportedVersion.Code
	}
	if !n.fill(req, resp, ready) {
		return out, nil
	}
	out = append(out, 0, 0, 0, 0)
	out = append(out, frame[4:8]...)
	if resp.IsFlexible() && key != kmsg.ApiVersions {
		out = append(out, 0)
	}
	return resp.AppendTo(out), nil
}

// fill says whether there is an answer.
func (n *nullBroker) fill(req kmsg.Request, resp kmsg.Response, ready *[]byte) bool {
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		for k, v := range nullVersions {
			resp.(*kmsg.ApiVersionsResponse).ApiKeys = append(resp.(*kmsg.ApiVersionsResponse).ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k.Int16(), MinVersion: v[0], MaxVersion: v[1]})
		}
	case *kmsg.MetadataRequest:
		n.metadata(req, resp.(*kmsg.MetadataResponse))
	case *kmsg.InitProducerIDRequest:
		resp.(*kmsg.InitProducerIDResponse).ProducerID = 1
	case *kmsg.ProduceRequest:
		for _, t := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition = p.Partition
				rt.Partitions = append(rt.Partitions, rp)
				n.learn(p.Records)
			}
			resp.(*kmsg.ProduceResponse).Topics = append(resp.(*kmsg.ProduceResponse).Topics, rt)
		}
		return req.Acks != 0
	case *kmsg.FetchRequest:
		n.fetch(req, resp.(*kmsg.FetchResponse), ready)
	case *kmsg.ListOffsetsRequest:
		for _, t := range req.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Offset = p.Partition, 0
				if p.Timestamp == -1 {
					rp.Offset = 1 << 40
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.(*kmsg.ListOffsetsResponse).Topics = append(resp.(*kmsg.ListOffsetsResponse).Topics, rt)
		}
	default:
		n.group(req, resp)
	}
	return true
}

func (n *nullBroker) metadata(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) {
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = 1, n.host, n.port
	resp.Brokers, resp.ControllerID = append(resp.Brokers, b), 1
	resp.ClusterID = kmsg.StringPtr("null-broker")
	for _, t := range req.Topics {
		rt := kmsg.NewMetadataResponseTopic()
		rt.Topic = t.Topic
		rt.TopicID = [16]byte{1, byte(len(*t.Topic))}
		for i := range n.partitions {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR = int32(i), 1, 0, []int32{1}, []int32{1}
			rt.Partitions = append(rt.Partitions, p)
		}
		resp.Topics = append(resp.Topics, rt)
	}
}

// fetch answers a megabyte for each partition, from the offset that was asked for, of the connection's own copy.
func (n *nullBroker) fetch(req *kmsg.FetchRequest, resp *kmsg.FetchResponse, ready *[]byte) {
	n.mu.Lock()
	for len(*ready) < len(n.ready)*n.partitions {
		*ready = append(*ready, n.ready...)
	}
	one := len(n.ready)
	n.mu.Unlock()
	at := *ready
	for _, t := range req.Topics {
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.Partition, rp.HighWatermark, rp.LastStableOffset, rp.LogStartOffset = p.Partition, 1<<40, 1<<40, 0
			rp.RecordBatches, at = at[:one], at[one:]
			next := p.FetchOffset
			for b := rp.RecordBatches; len(b) > 0; b = b[12+binary.BigEndian.Uint32(b[8:]):] {
				binary.BigEndian.PutUint64(b, uint64(next))
				next += int64(binary.BigEndian.Uint32(b[57:]))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
}

// group lets one consumer have everything.
func (n *nullBroker) group(req kmsg.Request, resp kmsg.Response) {
	switch req := req.(type) {
	case *kmsg.FindCoordinatorRequest:
		r := resp.(*kmsg.FindCoordinatorResponse)
		r.NodeID, r.Host, r.Port = 1, n.host, n.port
	case *kmsg.JoinGroupRequest:
		r := resp.(*kmsg.JoinGroupResponse)
		r.Generation, r.MemberID, r.LeaderID, r.Protocol = 1, "m", "m", &req.Protocols[0].Name
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.ProtocolMetadata = "m", req.Protocols[0].Metadata
		r.Members = append(r.Members, m)
	case *kmsg.SyncGroupRequest:
		if len(req.GroupAssignment) > 0 {
			resp.(*kmsg.SyncGroupResponse).MemberAssignment = req.GroupAssignment[0].MemberAssignment
		}
	case *kmsg.OffsetFetchRequest:
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetFetchResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetFetchResponseTopicPartition()
				rp.Partition, rp.Offset = p, -1
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.(*kmsg.OffsetFetchResponse).Topics = append(resp.(*kmsg.OffsetFetchResponse).Topics, rt)
		}
	case *kmsg.OffsetCommitRequest:
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetCommitResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetCommitResponseTopicPartition()
				rp.Partition = p.Partition
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.(*kmsg.OffsetCommitResponse).Topics = append(resp.(*kmsg.OffsetCommitResponse).Topics, rt)
		}
	}
}

// learn makes batches ready that hold records like the first one of a batch that was produced.
func (n *nullBroker) learn(records []byte) {
	count := int(binary.BigEndian.Uint32(records[57:]))
	size := max(64, (len(records)-batch.HeaderSize)/count-10) // about: the frame of a record has some 8 bytes
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.size != 0 {
		return
	}
	n.size = size
	for len(n.ready) < 1<<20-80<<10 {
		var b batch.Builder
		b.Reset(nil, batch.Options{})
		for range 64 << 10 / size {
			b.Append(1, nil, newPayload(size), nil)
		}
		ready, err := b.Finish()
		if err != nil {
			panic(err)
		}
		n.ready = append(n.ready, ready...)
	}
}
