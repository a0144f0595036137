package wire_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// broker answers Metadata with the topics that it is asked for, and the SASL calls.
func broker(mechanisms ...wire.Mechanism) handler {
	exchanges := map[*wire.Conn]wire.Exchange{} // of one connection at a time
	return handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
		h, body, err := wire.ParseHeader(frame, func(key, version int16) bool {
			r := kmsg.RequestForKey(key)
			r.SetVersion(version)
			return r.IsFlexible()
		})
		if err != nil {
			return nil, err
		}
		request := kmsg.RequestForKey(h.Key)
		request.SetVersion(h.Version)
		if err := request.ReadFrom(body); err != nil {
			return nil, err
		}
		response := request.ResponseKind()
		switch request := request.(type) {
		case *kmsg.MetadataRequest:
			for _, topic := range request.Topics {
				t := kmsg.NewMetadataResponseTopic()
				t.Topic = kmsg.StringPtr(*topic.Topic + string(h.ClientID))
				response.(*kmsg.MetadataResponse).Topics = append(response.(*kmsg.MetadataResponse).Topics, t)
			}
		case *kmsg.SASLHandshakeRequest:
			r := response.(*kmsg.SASLHandshakeResponse)
			r.ErrorCode = 33
			for _, m := range mechanisms {
				r.SupportedMechanisms = append(r.SupportedMechanisms, m.Name())
				if m.Name() == request.Mechanism {
					exchanges[c], r.ErrorCode = m.Start(), 0
				}
			}
		case *kmsg.SASLAuthenticateRequest:
			r := response.(*kmsg.SASLAuthenticateResponse)
			token, _, err := exchanges[c].Step(request.SASLAuthBytes)
			if failure, ok := errors.AsType[*wire.AuthenticationError](err); ok {
				r.ErrorCode, r.ErrorMessage = 58, &failure.Message
			}
			r.SASLAuthBytes, r.SessionLifetimeMillis = token, 60_000
		}
		reply := c.Reply()
		reply.Buf = wire.AppendResponseHeader(reply.Buf, h.Correlation, response.IsFlexible() && h.Key != 18)
		reply.Buf = response.AppendTo(reply.Buf)
		return reply, nil
	}}
}

func metadata(topic string, version int16) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = version
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	r.Topics = append(r.Topics, t)
	return r
}

func TestResponsesFindTheirRequests(t *testing.T) {
	r := start(t, wire.Config{}, broker())
	defer r.stop()
	c := wire.NewClient(r.dial(), []byte("-me"))
	defer c.Close()
	var askers sync.WaitGroup
	for i := range 8 {
		askers.Go(func() {
			for j := range 50 {
				topic := fmt.Sprint("topic-", i, "-", j)
				response, err := c.Request(context.Background(), metadata(topic, int16(1+j%12)))
				if err != nil || *response.(*kmsg.MetadataResponse).Topics[0].Topic != topic+"-me" {
					t.Errorf("%s: %v, %v", topic, response, err)
				}
			}
		})
	}
	askers.Wait()
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.Version, versions.ClientSoftwareName, versions.ClientSoftwareVersion = 3, "a", "1"
	_, err := c.Request(context.Background(), versions)
	require.NoError(t, err, "whose response header has no tags")
}

func TestAClientAuthenticates(t *testing.T) {
	credential, err := wire.NewScramCredential(wire.MechanismScramSHA512, "pencil", nil, 4096)
	require.NoError(t, err)
	scram, err := wire.Scram(wire.MechanismScramSHA512, func(user string) (wire.ScramCredential, bool) { return credential, user == "alice" })
	require.NoError(t, err)
	plain := wire.Plain(func(user, password string) bool { return wire.SamePassword(user+password, "bobpen") })
	r := start(t, wire.Config{}, broker(scram, plain))
	defer r.stop()
	login := func(m wire.ClientMechanism) error {
		c := wire.NewClient(r.dial(), nil)
		defer c.Close()
		lifetime, err := c.Authenticate(context.Background(), m)
		if err == nil {
			require.Equal(t, time.Minute, lifetime)
		}
		return err
	}
	mechanism := func(name, user, password string) wire.ClientMechanism {
		m, err := wire.ScramClient(name, user, password)
		require.NoError(t, err)
		return m
	}
	require.NoError(t, login(mechanism(wire.MechanismScramSHA512, "alice", "pencil")))
	require.NoError(t, login(wire.PlainClient("bob", "pen")))
	require.ErrorContains(t, login(wire.PlainClient("bob", "pan")), "Invalid username or password")
	require.ErrorContains(t, login(mechanism(wire.MechanismScramSHA512, "alice", "pen")), "invalid credentials")
	require.ErrorContains(t, login(mechanism(wire.MechanismScramSHA256, "alice", "pencil")), `mechanisms ["SCRAM-SHA-512" "PLAIN"]`)
}

func TestALostConnectionFailsAllRequests(t *testing.T) {
	for name, answer := range map[string]string{
		"closed":        "",
		"cut off":       "\x00\x00\x00\x09half",
		"too short":     "\x00\x00\x00\x03abc",
		"of another":    "\x00\x00\x00\x04\x00\x00\x00\x63",
		"negative":      "\xff\xff\xff\xff",
		"endless":       "\x7f\xff\xff\xff",
		"unasked first": "\x00\x00\x00\x04\x00\x00\x00\x01",
		"bad tags":      "\x00\x00\x00\x05\x00\x00\x00\x00\x09",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, wire.Config{}, handler{frame: func(*wire.Conn, context.Context, []byte) (*wire.Reply, error) {
					return &wire.Reply{Pieces: net.Buffers{[]byte(answer)}, Raw: true, CloseAfter: true}, nil
				}})
				defer r.stop()
				c := wire.NewClient(r.dial(), nil)
				failed := make(chan error, 3)
				for range cap(failed) {
					go func() {
						_, err := c.Request(context.Background(), metadata("x", 12))
						failed <- err
					}()
				}
				for range cap(failed) {
					require.Error(t, <-failed)
				}
				_, err := c.Request(context.Background(), metadata("x", 12))
				require.Error(t, err)
				require.NoError(t, c.Close())
			})
		})
	}
}

func TestAClientThatIsClosedSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, handler{frame: func(_ *wire.Conn, ctx context.Context, _ []byte) (*wire.Reply, error) {
			<-ctx.Done()
			return nil, nil
		}})
		defer r.stop()
		c := wire.NewClient(r.dial(), nil)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Do(context.Background(), wire.Header{Key: 3, Version: 1}, false, []byte("wait"))
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		_, err := c.Request(context.Background(), metadata("x", 1))
		require.ErrorIs(t, err, wire.ErrClientClosed)
		require.ErrorIs(t, <-failed, wire.ErrClientClosed)
	})
}

func TestACallerMayGiveUpWithoutTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, wire.Config{}, handler{frame: func(c *wire.Conn, _ context.Context, frame []byte) (*wire.Reply, error) {
			time.Sleep(time.Minute)
			r := c.Reply()
			r.Buf = append(r.Buf, frame[4:]...) // the correlation; version 1 has a client id, and that a body
			return r, nil
		}})
		defer r.stop()
		c := wire.NewClient(r.dial(), nil)
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		h := wire.Header{Key: 3, Version: 1}
		_, err := c.Do(ctx, h, false, []byte("first"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		body, err := c.Do(context.Background(), h, false, []byte("sec"), []byte("ond"))
		require.NoError(t, err)
		require.Equal(t, "\xff\xffsecond", string(body))
	})
}

// Half a request has been written when the caller gives up: nothing can follow it.
func TestGivingUpWhileWritingEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memnet.Pipe() // nobody reads
		defer server.Close()
		c := wire.NewClient(client, nil)
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		failed := make(chan error, 1)
		go func() {
			synctest.Wait()
			_, err := c.Do(ctx, wire.Header{Key: 3}, false) // waits for its turn
			failed <- err
		}()
		_, err := c.Do(ctx, wire.Header{}, false, make([]byte, 1<<20))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Error(t, <-failed)
		_, err = c.Do(context.Background(), wire.Header{}, false)
		require.ErrorContains(t, err, "not written")
	})
}

func TestReadFrameTakesWhatFitsAndGrowsWithWhatArrives(t *testing.T) {
	for _, n := range []int{0, 1, 100, 64 << 10, 64<<10 + 1, 1<<20 + 1, 3 << 20} {
		for _, room := range []int{0, 50, 4 << 20} {
			got, err := wire.ReadFrame(bytes.NewReader(framed(pattern(n))), 1<<30, make([]byte, 0, room))
			require.NoError(t, err)
			require.Equal(t, pattern(n), got)
		}
	}
	_, err := wire.ReadFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, 1<<30)), 1<<30, nil)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = wire.ReadFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, 11)), 10, nil)
	require.ErrorContains(t, err, "frame of 11 bytes")
	_, err = wire.ReadFrame(bytes.NewReader(nil), 10, nil)
	require.Equal(t, io.EOF, err)
	_, err = wire.ReadFrame(bytes.NewReader([]byte{0, 0}), 10, nil)
	require.Equal(t, io.ErrUnexpectedEOF, err)
}
