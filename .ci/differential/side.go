package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// side is one of the two brokers, with what has been learned of it: ids are its own.
type side struct {
	name, addr string
	sasl       string // the address of the listener that asks for SASL
	conn       net.Conn
	barriers   int
	sessions   [2]fetchSession
	session    *fetchSession       // that the last request was of
	member     map[string]string   // by group
	producer   map[string]int64    // by transactional id
	epoch      map[string]int16    // by transactional id
	topic      map[string][16]byte // ids by name
}

func newSide(name, addr, sasl string) *side {
	return &side{name: name, addr: addr, sasl: sasl, member: map[string]string{}, producer: map[string]int64{}, epoch: map[string]int16{}, topic: map[string][16]byte{}}
}

// slow is how long an answer may take: it is not a measurement.
var slow = 10 * time.Minute

// ask returns the answer, or nil if the broker has closed the connection instead.
func (s *side) ask(version int16, req kmsg.Request) kmsg.Response {
	served(req, version)
	return s.send(version, req)
}

// send is ask for any version.
func (s *side) send(version int16, req kmsg.Request) kmsg.Response {
	req.SetVersion(version)
	if s.conn == nil {
		s.conn = s.dial(s.addr)
	}
	resp := s.exchange(s.conn, req)
	if resp == nil {
		s.conn.Close()
		s.conn = nil
	}
	return resp
}

func (s *side) dial(addr string) net.Conn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		fail(err)
	}
	return conn
}

// The ids of requests. What has no answer is followed by another one, whose answer tells that the connection lives.
const (
	theRequest   = 7
	theFollowing = 8
)

// quiet stands for the answer that a request does not have.
func quiet() kmsg.Response { return kmsg.NewPtrProduceResponse() }

// exchange is ask on a connection.
func (s *side) exchange(conn net.Conn, req kmsg.Request) kmsg.Response {
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("differential"))
	frame := format.AppendRequest(nil, req, theRequest)
	if p, ok := req.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		frame = append(frame, format.AppendRequest(nil, &kmsg.ApiVersionsRequest{}, theFollowing)...)
	}
	id, body, err := roundTrip(conn, frame)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		fail(fmt.Errorf("%s does not answer %s %d %+v", s.name, kmsg.NameForKey(req.Key()), req.GetVersion(), req))
	}
	if err != nil {
		return nil
	}
	if id == theFollowing {
		return quiet()
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if req.Key() == 18 && (req.GetVersion() > highest(18, 4) || len(body) >= 2 && body[1] == 35) { // a version that the broker does not know is answered in version 0
		resp.SetVersion(0)
	}
	if resp.IsFlexible() && req.Key() != 18 {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		fail(fmt.Errorf("%s: the answer to %s %d: %w: %x", s.name, kmsg.NameForKey(req.Key()), req.GetVersion(), err, body))
	}
	return resp
}

// roundTrip writes frames and reads one, and the id of the request that it answers.
func roundTrip(conn net.Conn, frames []byte) (id int32, body []byte, err error) {
	if body, err = tokenTrip(conn, frames); err != nil {
		return 0, nil, err
	}
	if len(body) < 4 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return int32(binary.BigEndian.Uint32(body)), body[4:], nil
}

// tokenTrip is roundTrip for what has no headers.
func tokenTrip(conn net.Conn, frames []byte) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(slow)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(frames); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(conn, body)
	return body, err
}

// until waits for a broker to be so far.
func (s *side) until(what string, done func() bool) {
	for began := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > slow {
			fail(fmt.Errorf("%s: no %s in %v", s.name, what, slow))
		}
	}
}

// learn asks for the ids of all topics.
func (s *side) learn() {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	resp, ok := s.ask(highest(3, 12), req).(*kmsg.MetadataResponse)
	if !ok {
		fail(fmt.Errorf("%s closed the connection of a Metadata request", s.name))
	}
	for _, t := range resp.Topics {
		s.topic[*t.Topic] = t.TopicID
	}
}

// named is the name of a topic of this broker.
func (s *side) named(id [16]byte) string {
	for name, known := range s.topic {
		if known == id {
			return name
		}
	}
	switch id {
	case [16]byte{}:
		return "none"
	case unknownID:
		return "unknown"
	}
	return "some"
}

var unknownID = [16]byte{1, 2, 3}
