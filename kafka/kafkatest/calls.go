package kafkatest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// Call is one request that a client has sent, and its answer.
type Call struct {
	Seq         int64     // counted from 1, in the order of arrival
	Began       time.Time // by the cluster's clock
	Took        time.Duration
	Broker      int32
	Listener    string
	Conn        kafka.ConnInfo
	Key         int16
	Version     int16
	ClientID    string
	Correlation int32
	Rules       []string // that have acted upon it

	Frame []byte // header and body as they came, without the size; at most 64 KiB
	Cut   bool   // Frame is only the beginning
	Done  bool   // answered, or its connection closed
	// Answer is the body of the answer as kmsg encodes it in Version, without records; nil if there was none.
	Answer  []byte
	Records int   // bytes of records in the answer
	Err     error // why the connection was closed instead

	version int16 // of Answer: ApiVersions answers a version that it does not know in version 0
}

// API returns the name of the API.
func (c *Call) API() string { return kmsg.NameForKey(c.Key) }

// Request decodes the request.
func (c *Call) Request() (kmsg.Request, error) {
	if c.Cut {
		return nil, fmt.Errorf("call %d: only the first %d bytes of the request are kept", c.Seq, len(c.Frame))
	}
	req := kmsg.RequestForKey(c.Key)
	if req == nil {
		return nil, fmt.Errorf("call %d: unknown API %d", c.Seq, c.Key)
	}
	req.SetVersion(c.Version)
	_, body, err := wire.ParseHeader(c.Frame, func(int16, int16) bool { return req.IsFlexible() })
	if err != nil {
		return nil, err
	}
	return req, req.ReadFrom(body)
}

// Response decodes the answer; nil if there was none.
func (c *Call) Response() (kmsg.Response, error) {
	if c.Answer == nil {
		return nil, nil
	}
	req := kmsg.RequestForKey(c.Key)
	req.SetVersion(c.version)
	resp := req.ResponseKind()
	return resp, resp.ReadFrom(c.Answer)
}

// callLog keeps the newest calls.
type callLog struct {
	limit int

	mu      sync.Mutex // guards all below
	seq     int64
	calls   []*Call // a ring is not worth it: half of them go at a time
	bytes   int
	changed chan struct{} // closed, and replaced, with each call, if somebody waits
}

const (
	maxFrame = 64 << 10
	callSize = 400 // about, without its bytes
)

func newCallLog(limit int) *callLog { return &callLog{limit: limit} }

// begin notes a request; nil if no log is kept.
func (l *callLog) begin(k partition.Clock, call *kafka.Call) *Call {
	if l.limit <= 0 {
		return nil
	}
	c := &Call{
		Began: k.Now(), Broker: call.Broker, Listener: call.Listener, Conn: call.Conn, Key: call.Key, Version: call.Version,
		ClientID: call.ClientID, Correlation: call.Correlation,
		Frame: slices.Clone(call.Frame[:min(len(call.Frame), maxFrame)]), Cut: len(call.Frame) > maxFrame,
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	c.Seq = l.seq
	l.calls = append(l.calls, c)
	l.addLocked(callSize + len(c.Frame))
	return c
}

func (l *callLog) addLocked(n int) {
	if l.bytes += n; l.bytes > l.limit {
		for len(l.calls) > 1 && l.bytes > l.limit/2 {
			l.bytes -= callSize + len(l.calls[0].Frame) + len(l.calls[0].Answer)
			l.calls[0] = nil
			l.calls = l.calls[1:]
		}
		l.calls = slices.Clone(l.calls)
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// end notes the answer.
func (l *callLog) end(k partition.Clock, c *Call, answer kafka.Answer, rules []string) {
	if c == nil {
		return
	}
	var body []byte
	records, version := 0, c.Version
	if answer.Response != nil && answer.Err == nil {
		body, records = encodeAnswer(c, answer.Response)
		version = answer.Response.GetVersion()
	}
	took := k.Now().Sub(c.Began)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Done, c.Took, c.Answer, c.Records, c.Err, c.Rules, c.version = true, took, body, records, answer.Err, rules, version
	l.addLocked(len(body))
}

// encodeAnswer encodes an answer without the records of a fetch.
func encodeAnswer(c *Call, resp kmsg.Response) ([]byte, int) {
	if c.Key != int16(kmsg.ApiVersions) {
		resp.SetVersion(c.Version)
	}
	fetch, ok := resp.(*kmsg.FetchResponse)
	if !ok {
		return resp.AppendTo(make([]byte, 0, 64)), 0
	}
	records := 0
	bare := *fetch
	bare.Topics = slices.Clone(fetch.Topics)
	for i := range bare.Topics {
		t := &bare.Topics[i]
		t.Partitions = slices.Clone(t.Partitions)
		for j := range t.Partitions {
			records += len(t.Partitions[j].RecordBatches)
			t.Partitions[j].RecordBatches = []byte{}
		}
	}
	return bare.AppendTo(make([]byte, 0, 64)), records
}

// Calls returns copies of the newest requests, in the order of their arrival, as many as CallBytes has room for. The bytes in
// them are not to be changed.
func (c *Cluster) Calls() []Call {
	l := c.calls
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Call, len(l.calls))
	for i, x := range l.calls {
		all[i] = *x
	}
	return all
}

// changedCalls returns a channel that is closed with the next request or answer.
func (l *callLog) changes() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}
