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
	conn       net.Conn
	barriers   int
	member     map[string]string   // by group
	producer   map[string]int64    // by transactional id
	epoch      map[string]int16    // by transactional id
	topic      map[string][16]byte // ids by name
}

func newSide(name, addr string) *side {
	return &side{name: name, addr: addr, member: map[string]string{}, producer: map[string]int64{}, epoch: map[string]int16{}, topic: map[string][16]byte{}}
}

// slow is how long an answer may take: it is not a measurement.
const slow = 10 * time.Minute

// ask returns the answer, or nil if the broker has closed the connection instead.
func (s *side) ask(version int16, req kmsg.Request) kmsg.Response {
	req.SetVersion(version)
	if s.conn == nil {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			fail(err)
		}
		s.conn = conn
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	body, err := s.exchange(kmsg.NewRequestFormatter(kmsg.FormatterClientID("differential")).AppendRequest(nil, req, 7))
	if e, ok := err.(net.Error); ok && e.Timeout() {
		fail(fmt.Errorf("%s does not answer %s %d %+v", s.name, kmsg.NameForKey(req.Key()), version, req))
	}
	if err != nil {
		s.conn.Close()
		s.conn = nil
		return nil
	}
	if resp.IsFlexible() && req.Key() != 18 {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		fail(fmt.Errorf("%s: the answer to %s %d: %w", s.name, kmsg.NameForKey(req.Key()), version, err))
	}
	return resp
}

func (s *side) exchange(frame []byte) ([]byte, error) {
	if err := s.conn.SetDeadline(time.Now().Add(slow)); err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(frame); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(s.conn, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return nil, err
	}
	return body[4:], nil
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
	resp, ok := s.ask(12, req).(*kmsg.MetadataResponse)
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
