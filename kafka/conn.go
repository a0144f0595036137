package kafka

import (
	"context"
	"errors"
	"net"

	"github.com/partlog/partlog/internal/wire"
)

// session is one connection to one listener of one broker. It belongs to the connection's goroutine.
type session struct {
	server   *Server
	broker   *Broker
	listener *listener
	conn     *wire.Conn // nil only in tests, which call handlers without a connection
	id       uint64
	remote   string // the client's address, with port
	host     string // without

	principal       Principal
	sec             security
	software        string // client.software.name, KIP-511
	softwareVersion string
	clientID        string // of the last request

	call    call
	produce produceState
	fetch   fetchState
}

// Open makes a session of a connection that was accepted.
func (l *listener) Open(c *wire.Conn) (wire.Session, error) {
	s := l.newSession(c.ID(), c.RemoteAddr())
	s.conn = c
	s.fetch.copies = c.TLS() != nil || c.LocalAddr().Network() != "tcp" // what is no socket is written by this process
	if err := s.connected(); err != nil {
		return nil, err
	}
	l.broker.server.counters.connections.Add(1)
	if f := l.broker.server.config.Events.ConnectionOpened; f != nil {
		f(l.broker.id, l.name, s.info())
	}
	return s, nil
}

func (l *listener) newSession(id uint64, remote net.Addr) *session {
	s := &session{server: l.broker.server, broker: l.broker, listener: l, id: id}
	s.become(anonymous)
	if remote != nil {
		s.remote = remote.String()
		s.host, _ = splitAddr(s.remote)
	}
	return s
}

// settings are the broker's, as they are now.
func (s *session) settings() *settings { return s.broker.settings.Load() }

// info is the connection as hosts see it.
func (s *session) info() ConnInfo {
	return ConnInfo{ID: s.id, Remote: s.remote, Principal: s.principal.String()}
}

// Frame answers one request.
func (s *session) Frame(ctx context.Context, frame []byte) (*wire.Reply, error) {
	if s.sec.raw {
		return s.rawToken(frame)
	}
	return s.dispatch(ctx, frame)
}

// reply is an empty reply with room for the frame's size.
func (s *session) reply() *wire.Reply {
	if s.conn == nil {
		return &wire.Reply{Buf: make([]byte, 4)}
	}
	return s.conn.Reply()
}

// Close ends the session.
func (s *session) Close(reason error) {
	if errors.Is(reason, wire.ErrCloseAfter) && s.call.closing != nil {
		reason = s.call.failed(s.call.closing) // the answer has been written
	}
	s.produce.drop()
	s.fetch.drop()
	s.server.counters.connections.Add(-1)
	if f := s.server.config.Events.ConnectionClosed; f != nil {
		f(s.broker.id, s.listener.name, s.info(), reason)
	}
}
