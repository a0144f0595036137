package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// refusedBoth lets node 1 dial node 2 and returns what each was told first.
func refusedBoth(t *testing.T, change func(a, b *Config)) (dialer, dialled *RefusedError) {
	var first, second diary
	_, _, p := two(t, func(a, b *Config) {
		a.Events, b.Events = first.events(), second.events()
		change(a, b)
	})
	_, err := ask(t.Context(), p, 0, "")
	require.Error(t, err)
	synctest.Wait()
	dialer, dialled = first.firstRefusal(), second.firstRefusal()
	require.NotNil(t, dialer, "%v", first.entries)
	require.NotNil(t, dialled, "%v", second.entries)
	require.ErrorIs(t, err, dialer.Err)
	return dialer, dialled
}

func TestRefusalsAreToldToBothSidesWithNodeAndReason(t *testing.T) {
	for _, c := range []struct {
		name   string
		want   error
		byPeer bool // the dialled node refuses the dialer
		change func(one, two *Config)
	}{
		{"wrong cluster", ErrWrongCluster, true, func(a, _ *Config) { a.Identity.ClusterID = "another" }},
		{"wrong node", ErrWrongNode, true, func(_, b *Config) { b.Identity.NodeID = 3 }},
		{"a feature level that the dialer does not know", ErrFeatureLevel, true, func(_, b *Config) {
			b.FeatureLevel = func() int16 { return 7 }
		}},
		{"a feature level that the dialled node does not know", ErrFeatureLevel, false, func(a, _ *Config) {
			a.FeatureLevel = func() int16 { return 7 }
		}},
		{"not admitted", ErrNotAdmitted, true, func(_, b *Config) {
			b.Admit = func(id Identity) error {
				return fmt.Errorf("directory %x is not node %d's", id.DirectoryID[:1], id.NodeID)
			}
		}},
		{"not admitted by the dialer", ErrNotAdmitted, false, func(a, _ *Config) {
			a.Admit = func(Identity) error { return errors.New("no") }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dialer, dialled := refusedBoth(t, c.change)
				require.ErrorIs(t, dialer, c.want)
				require.ErrorIs(t, dialled, c.want)
				require.Equal(t, c.byPeer, dialer.ByPeer)
				require.Equal(t, !c.byPeer, dialled.ByPeer)
				require.NotEmpty(t, dialer.Address)
				require.Contains(t, dialer.Error(), c.want.Error())
				require.Equal(t, dialer.Detail, dialled.Detail)
			})
		})
	}
}

// stranger dials node 2 by hand.
func stranger(t *testing.T, change func(*Config)) (net.Conn, *diary) {
	n := memnet.New()
	var d diary
	c := plain(t, n, 2)
	c.Events = d.events()
	if change != nil {
		change(&c)
	}
	listen(t, c)
	conn, err := n.DialContext(t.Context(), "tcp", "node-2:1")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn, &d
}

func helloOf(node int32) hello {
	return hello{Identity: identity(node), minVersion: minVersion, maxVersion: maxVersion, target: 2, window: Window{10, 1 << 20}, maxFrame: 1 << 20, nonce: nonce{1}}
}

// shake does the dialer's part of a handshake and returns where its frames begin.
func shake(t *testing.T, conn net.Conn, h hello) uint64 {
	require.NoError(t, wire.WriteFrame(conn, appendHello(nil, handshakeHello, h)))
	b, err := wire.ReadFrame(conn, handshakeBytes, nil)
	require.NoError(t, err)
	typ, them, _, err := parseHandshake(b)
	require.NoError(t, err)
	require.EqualValues(t, handshakeOK, typ)
	first, _ := sequences(h.nonce, them.nonce)
	return first
}

func TestWhatIsNoHandshakeIsRefused(t *testing.T) {
	hugeDetail := append([]byte{0, 0, 0x10, 1}, make([]byte, 100)...)
	old := helloOf(1)
	old.minVersion, old.maxVersion = 2, 9
	self := helloOf(2)
	self.target = 2
	frame := func(b []byte) []byte { return append([]byte{0, 0, byte(len(b) >> 8), byte(len(b))}, b...) }
	for _, c := range []struct {
		name string
		sent []byte
		want error
		says string
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), ErrHandshake, "message of 1195725856 bytes, where 4096 are taken"},
		{"a Kafka client", frame(append([]byte{0, 18, 0, 3, 0, 0, 0, 1, 0, 4}, "kcat"...)), ErrHandshake, "no node of partlog"},
		{"too large", hugeDetail, ErrHandshake, "4097 bytes"},
		{"cut short", frame(appendHello(nil, handshakeHello, helloOf(1))[:40]), ErrHandshake, "cut short"},
		{"a welcome", frame(appendHello(nil, handshakeOK, helloOf(1))), ErrHandshake, "where a hello is due"},
		{"another version", frame(appendHello(nil, handshakeHello, old)), ErrVersion, "versions 2 to 9, we 1 to 1"},
		{"our own id", frame(appendHello(nil, handshakeHello, self)), ErrDuplicateNode, "this is node 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, d := stranger(t, nil)
				_, err := conn.Write(c.sent)
				require.NoError(t, err)
				b, err := wire.ReadFrame(conn, handshakeBytes, nil)
				require.NoError(t, err, "it is told why")
				typ, _, no, err := parseHandshake(b)
				require.NoError(t, err)
				require.EqualValues(t, handshakeNo, typ)
				require.ErrorIs(t, refusals[no.code], c.want)
				_, err = conn.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
				synctest.Wait()
				require.ErrorIs(t, d.firstRefusal(), c.want)
				require.ErrorContains(t, d.firstRefusal(), c.says)
			})
		})
	}
}

func TestAHandshakeThatTakesTooLongIsEnded(t *testing.T) {
	for _, sent := range []int{0, 3, 30} {
		synctest.Test(t, func(t *testing.T) {
			conn, d := stranger(t, nil)
			begun := time.Now()
			b := appendHello(nil, handshakeHello, helloOf(1))
			conn.Write(append([]byte{0, 0, 0, byte(len(b))}, b...)[:sent])
			_, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Equal(t, 5*time.Second, time.Since(begun))
			synctest.Wait()
			require.ErrorIs(t, d.firstRefusal(), ErrHandshake)
		})
	}
}

func TestTooManyHandshakesAtATimeAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		var d diary
		c := plain(t, n, 2)
		c.Events, c.Limits.Handshakes = d.events(), 2
		listen(t, c)
		for range 3 {
			conn, err := n.DialContext(t.Context(), "tcp", "node-2:1")
			require.NoError(t, err)
			defer conn.Close()
		}
		synctest.Wait()
		require.ErrorIs(t, d.firstRefusal(), ErrTooManyConnections)
		time.Sleep(6 * time.Second) // the two have ended
		conn, err := n.DialContext(t.Context(), "tcp", "node-2:1")
		require.NoError(t, err)
		defer conn.Close()
		shake(t, conn, helloOf(1))
	})
}

func TestFramesOutOfPlaceEndTheConnectionWithAReason(t *testing.T) {
	call := func(sequence uint64, correlation uint32, n int) []byte {
		return append(appendHead(nil, head{sequence, frameCall, 0, correlation, 0}, n), make([]byte, n)...)
	}
	for _, c := range []struct {
		name  string
		sent  func(next uint64) []byte
		want  error
		alone bool // without the first frame
	}{
		{"a frame that was recorded", func(next uint64) []byte { return append(call(next, 1, 0), call(next, 2, 0)...) }, ErrSequence, false},
		{"one of another connection", func(next uint64) []byte { return call(next+1000, 1, 0) }, ErrSequence, false},
		{"garbage", func(uint64) []byte { return []byte("\x00\x00\x00\x30 garbage garbage garbage garbage garbage garbage") }, ErrSequence, false},
		{"an impossible size", func(uint64) []byte { return append([]byte{0x7f, 0xff, 0xff, 0xff}, make([]byte, 20)...) }, ErrFrame, false},
		{"a negative size", func(uint64) []byte { return append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 20)...) }, ErrFrame, false},
		{"an unknown type", func(next uint64) []byte { return appendHead(nil, head{next, 77, 0, 0, 0}, 0) }, ErrFrame, false},
		{"an answer to no call", func(next uint64) []byte { return appendHead(nil, head{next, frameReply, 0, 5, 0}, 0) }, ErrProtocol, false},
		{"a pong without a ping", func(next uint64) []byte { return appendHead(nil, head{next, framePong, 0, 5, 0}, 0) }, ErrProtocol, false},
		{"a second first frame", func(next uint64) []byte { return appendHead(nil, head{next, frameReady, 0, 0, 0}, 0) }, ErrProtocol, false},
		{"the same call twice", func(next uint64) []byte { return append(call(next, 1, 0), call(next+1, 1, 0)...) }, ErrProtocol, false},
		{"more calls than agreed on", func(next uint64) []byte { return append(call(next, 1, 60), call(next+1, 2, 60)...) }, ErrProtocol, false},
		{"a call where the first frame is due", func(next uint64) []byte { return call(next, 1, 0) }, ErrHandshake, true},
		{"garbage where the first frame is due", func(next uint64) []byte { return call(next+1, 1, 0) }, ErrHandshake, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, d := stranger(t, func(config *Config) {
					config.Limits.Window.Bytes = 100
					config.Handler = &echo{call: func(ctx context.Context, _ int32, _ uint8, _ []byte) (Reply, error) {
						<-ctx.Done()
						return Reply{}, ctx.Err()
					}}
				})
				next := shake(t, conn, helloOf(1))
				if !c.alone {
					_, err := conn.Write(appendHead(nil, head{next, frameReady, 0, 0, 0}, 0))
					require.NoError(t, err)
					next++
				}
				_, err := conn.Write(c.sent(next))
				require.NoError(t, err)
				_, err = io.ReadAll(conn)
				require.NoError(t, err)
				synctest.Wait()
				if c.alone {
					require.ErrorIs(t, d.firstRefusal(), c.want)
					return
				}
				require.Len(t, d.ends(), 1)
				require.ErrorIs(t, d.ends()[0], c.want)
			})
		})
	}
}

func TestARefusalOfALaterVersionIsUnderstoodAsFarAsItGoes(t *testing.T) {
	b := appendRefusal(nil, refusal{200, 7, "c", "new reason"})
	typ, _, no, err := parseHandshake(append(b, 1, 2, 3))
	require.NoError(t, err)
	require.EqualValues(t, handshakeNo, typ)
	h := &handshake{}
	require.ErrorIs(t, h.refused(no), ErrHandshake)
	require.Contains(t, h.refused(no).Error(), "node 7 at  refused us: bad handshake (new reason)")
}

func TestCodesOfRefusalsAreForEver(t *testing.T) {
	for code, want := range []error{ErrHandshake, ErrWrongCluster, ErrWrongNode, ErrDuplicateNode, ErrCertificate, ErrVersion, ErrStaleEpoch, ErrFeatureLevel, ErrNotAdmitted, ErrTooManyConnections, ErrClosing} {
		require.Equal(t, want, refusals[code])
		require.EqualValues(t, code, refusalCode(fmt.Errorf("wrapped: %w", want)))
	}
}
