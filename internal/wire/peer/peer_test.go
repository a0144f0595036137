package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire/faultnet"
	"github.com/partlog/partlog/internal/wire/memnet"
)

// two are nodes 1 and 2; 1 dials 2.
func two(t *testing.T, change func(one, two *Config)) (*Endpoint, *Endpoint, *Peer) {
	n := memnet.New()
	a, b := plain(t, n, 1), plain(t, n, 2)
	if change != nil {
		change(&a, &b)
	}
	second := listen(t, b)
	first := listen(t, a)
	first.SetPeer(2, "node-2:1")
	return first, second, first.Peer(2)
}

func TestManyCallsAreAnsweredEachWithItsOwnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, p := two(t, nil)
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				body := strings.Repeat("x", i*7) + fmt.Sprint(i)
				got, err := ask(t.Context(), p, uint8(i), body)
				if want := fmt.Sprintf("1/%d:%s", uint8(i), body); err != nil || got != want {
					t.Errorf("call %d: %q, %v", i, got, err)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 200, p.Stats().Calls)
	})
}

func TestAnAnswerOvertakesAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &echo{call: func(ctx context.Context, _ int32, kind uint8, body []byte) (Reply, error) {
			if kind == 1 {
				<-release
			}
			return Reply{Pieces: [][]byte{body}}, nil
		}}
		_, _, p := two(t, func(_, b *Config) { b.Handler = h })
		slow := make(chan string, 1)
		go func() {
			got, _ := ask(t.Context(), p, 1, "slow")
			slow <- got
		}()
		synctest.Wait()
		got, err := ask(t.Context(), p, 2, "fast")
		require.NoError(t, err)
		require.Equal(t, "fast", got)
		require.Empty(t, slow)
		close(release)
		require.Equal(t, "slow", <-slow)
	})
}

func TestMessagesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &echo{}
		_, _, p := two(t, func(_, b *Config) { b.Handler = h })
		var want []string
		for i := range 1000 { // the first ones before there is a connection
			p.Send(3, []byte(fmt.Sprint(i)))
			want = append(want, fmt.Sprintf("1/3:%d", i))
		}
		synctest.Wait()
		require.True(t, slices.Equal(want, h.got()))
	})
}

func TestOfTooManyMessagesTheOldestAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		c := plain(t, n, 1)
		c.Limits.QueuedMessages = 3
		e := listen(t, c)
		e.SetPeer(2, "node-2:1") // nobody is there
		p := e.Peer(2)
		for i := range 10 {
			p.Send(0, []byte(fmt.Sprint(i)))
		}
		require.EqualValues(t, 7, p.Stats().Dropped)
		require.Equal(t, 3, p.Stats().Queued)
		h := &echo{}
		b := plain(t, n, 2)
		b.Handler = h
		listen(t, b)
		require.NoError(t, p.Wait(t.Context()))
		synctest.Wait()
		require.Equal(t, []string{"1/0:7", "1/0:8", "1/0:9"}, h.got())
	})
}

func TestAHandlersErrorArrivesWithItsCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, p := two(t, func(_, b *Config) {
			b.Handler = &echo{call: func(context.Context, int32, uint8, []byte) (Reply, error) {
				return Reply{}, fmt.Errorf("wrapped: %w", coded(42))
			}}
		})
		_, err := ask(t.Context(), p, 0, "")
		remote, ok := errors.AsType[*CallError](err)
		require.True(t, ok)
		require.Equal(t, CallError{2, 42, "wrapped: error 42"}, *remote)
	})
}

type coded uint32

func (c coded) Error() string    { return fmt.Sprintf("error %d", uint32(c)) }
func (c coded) PeerCode() uint32 { return uint32(c) }

func TestACallThatIsGivenUpEndsAtTheHandlerToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 2)
		_, _, p := two(t, func(_, b *Config) {
			b.Limits.Window.Calls = 1
			b.Handler = &echo{call: func(ctx context.Context, _ int32, kind uint8, body []byte) (Reply, error) {
				if kind == 0 {
					return Reply{}, nil
				}
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return Reply{}, ctx.Err()
			}}
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := ask(ctx, p, 1, "x")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, <-ended, errCancelled)
		_, err = ask(t.Context(), p, 0, "its place is free again")
		require.NoError(t, err)
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = ask(late, p, 1, "x")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		<-ended
	})
}

func TestAReplyIsReleasedOnceWhateverBecomesOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lent, back atomic.Int32
		big := bytes.Repeat([]byte("piece"), 1<<16)
		first, second, p := two(t, func(_, b *Config) {
			b.Handler = &echo{call: func(ctx context.Context, _ int32, kind uint8, body []byte) (Reply, error) {
				if kind == 1 {
					<-ctx.Done()
				}
				lent.Add(1)
				r := Reply{Pieces: [][]byte{big[:10], big, big[10:20]}, Release: func() { back.Add(1) }}
				if kind == 2 {
					return r, errors.New("no")
				}
				return r, nil
			}}
		})
		got, err := ask(t.Context(), p, 0, "")
		require.NoError(t, err)
		require.Equal(t, string(big[:10])+string(big)+string(big[10:20]), got)
		_, err = ask(t.Context(), p, 2, "")
		require.Error(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		for range 5 {
			go ask(ctx, p, 1, "")
		}
		synctest.Wait()
		first.Close()
		second.Close()
		cancel()
		synctest.Wait()
		require.EqualValues(t, 7, lent.Load())
		require.EqualValues(t, 7, back.Load())
	})
}

func TestCallsBeyondTheWindowWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		_, _, p := two(t, func(_, b *Config) {
			b.Limits.Window = Window{Calls: 4, Bytes: 100}
			b.Handler = &echo{call: func(context.Context, int32, uint8, []byte) (Reply, error) {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Second)
				now.Add(-1)
				return Reply{}, nil
			}}
		})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := ask(t.Context(), p, 0, strings.Repeat("x", 40)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Go(func() {
			if _, err := ask(t.Context(), p, 0, strings.Repeat("x", 1000)); err != nil { // alone it may
				t.Error(err)
			}
		})
		all.Wait()
		require.EqualValues(t, 2, most.Load(), "100 bytes are two of 40")
	})
}

func TestABodyThatThePeerWouldNotTakeIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, p := two(t, func(a, b *Config) {
			b.Limits.MaxFrame = 1000
			b.Handler = &echo{call: func(context.Context, int32, uint8, []byte) (Reply, error) {
				return Reply{Pieces: [][]byte{make([]byte, 3000)}}, nil
			}}
			a.Limits.MaxFrame = 2000
		})
		_, err := ask(t.Context(), p, 0, strings.Repeat("x", 1001))
		_, large := errors.AsType[*TooLargeError](err)
		require.True(t, large, "%v", err)
		_, err = ask(t.Context(), p, 0, "x")
		require.ErrorContains(t, err, "body of 3000 bytes, where the peer takes 2000")
		require.EqualValues(t, 1, p.Stats().Connects, "the connection lives on")
	})
}

func TestWithoutAConnectionACallFailsAtOnceAndLaterOneSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		e := listen(t, plain(t, n, 1))
		e.SetPeer(2, "node-2:1")
		p := e.Peer(2)
		_, err := ask(t.Context(), p, 0, "")
		unreachable, ok := errors.AsType[*UnreachableError](err)
		require.True(t, ok, "%v", err)
		require.EqualValues(t, 2, unreachable.NodeID)
		for range 10 { // the attempts become rarer
			time.Sleep(time.Second)
		}
		failures := p.Stats().Failures
		require.Less(t, failures, uint64(30))
		require.Greater(t, failures, uint64(10))
		listen(t, plain(t, n, 2))
		require.NoError(t, p.Wait(t.Context()))
		_, err = ask(t.Context(), p, 0, "")
		require.NoError(t, err)
	})
}

func TestACallFailsWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, second, p := two(t, func(_, b *Config) {
			b.Handler = &echo{call: func(ctx context.Context, _ int32, _ uint8, _ []byte) (Reply, error) {
				<-ctx.Done()
				return Reply{}, ctx.Err()
			}}
		})
		failed := make(chan error, 1)
		go func() {
			_, err := ask(t.Context(), p, 0, "")
			failed <- err
		}()
		synctest.Wait()
		second.Close()
		err := <-failed
		lost, ok := errors.AsType[*LostError](err)
		require.True(t, ok, "%v", err)
		require.ErrorIs(t, lost, ErrPeerClosed)
	})
}

func TestAOneWayCutIsNoticedAndHealed(t *testing.T) {
	for _, cut := range []string{"requests", "answers"} {
		t.Run(cut, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := faultnet.New(clock.System)
				d := &diary{}
				_, _, p := two(t, func(a, _ *Config) {
					a.Dial, a.Events = net.Dialer("one", a.Dial), d.events()
					net.Name("node-2:1", "two")
				})
				defer net.Close()
				_, err := ask(t.Context(), p, 0, "")
				require.NoError(t, err)
				if cut == "requests" {
					net.Cut("one", "two")
				} else {
					net.Cut("two", "one")
				}
				begun := time.Now()
				_, err = ask(t.Context(), p, 0, "")
				_, lost := errors.AsType[*LostError](err) // silent to us, or closed by whom we were silent to
				require.True(t, lost, "%v", err)
				require.LessOrEqual(t, time.Since(begun), 4*time.Second)
				_, err = ask(t.Context(), p, 0, "")
				require.Error(t, err, "nor can it be dialled")
				net.Heal()
				require.NoError(t, p.Wait(t.Context()))
				_, err = ask(t.Context(), p, 0, "")
				require.NoError(t, err)
			})
		})
	}
}

func TestAConnectionThatIsOnlySlowOrIdleLivesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := faultnet.New(clock.System)
		_, _, p := two(t, func(a, _ *Config) { a.Dial = net.Dialer("one", a.Dial) })
		defer net.Close()
		_, err := ask(t.Context(), p, 0, "")
		require.NoError(t, err)
		net.Delay("one", "node-2:1", time.Second)
		time.Sleep(time.Hour)
		begun := time.Now()
		_, err = ask(t.Context(), p, 0, "")
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begun), time.Second)
		require.EqualValues(t, 1, p.Stats().Connects)
		require.GreaterOrEqual(t, p.Stats().RoundTrip, time.Second)
	})
}

func TestAPeerThatDoesNotReadIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		defer close(block)
		d := &diary{}
		_, _, p := two(t, func(a, b *Config) {
			a.Events = d.events()
			a.Limits.Silence = time.Hour
			b.Limits.Silence = time.Hour
			b.Handler = stuck{block}
		})
		require.NoError(t, p.Wait(t.Context()))
		for range 100 {
			p.Send(0, make([]byte, 64<<10))
		}
		time.Sleep(15 * time.Second)
		require.NotEmpty(t, d.ends())
		require.ErrorIs(t, d.ends()[0], ErrStalled)
	})
}

type stuck struct{ block chan struct{} }

func (s stuck) Call(context.Context, int32, uint8, []byte) (Reply, error) { return Reply{}, nil }
func (s stuck) Message(int32, uint8, []byte)                              { <-s.block }

func TestAPanicOfTheHandlerEndsTheConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		_, _, p := two(t, func(_, b *Config) {
			b.Events = d.events()
			b.Handler = &echo{call: func(_ context.Context, _ int32, kind uint8, _ []byte) (Reply, error) {
				if kind == 1 {
					panic("oh")
				}
				return Reply{}, nil
			}}
		})
		_, err := ask(t.Context(), p, 1, "")
		require.Error(t, err)
		synctest.Wait()
		require.True(t, d.has("panic of the handler: oh"), "%v", d.entries)
		require.NoError(t, p.Wait(t.Context()))
		_, err = ask(t.Context(), p, 0, "")
		require.NoError(t, err)
	})
}

func TestCloseEndsEverythingAndMayBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it fails if a goroutine is left
		first, second, p := two(t, nil)
		second.SetPeer(1, "node-1:1")
		second.SetPeer(9, "nobody:1")
		_, err := ask(t.Context(), p, 0, "")
		require.NoError(t, err)
		require.NoError(t, first.Close())
		require.NoError(t, first.Close())
		_, err = ask(t.Context(), p, 0, "")
		require.ErrorIs(t, err, ErrClosed)
		p.Send(0, nil)
		require.NoError(t, second.Close())
	})
}

func TestAnAddressMayChangeAndAPeerBeTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		e := listen(t, plain(t, n, 1))
		e.SetPeer(2, "elsewhere:1")
		old := e.Peer(2)
		listen(t, plain(t, n, 2))
		e.SetPeer(2, "node-2:1")
		require.NoError(t, e.Peer(2).Wait(t.Context()))
		require.ErrorIs(t, old.Wait(t.Context()), ErrSuperseded)
		gone := e.Peer(2)
		e.RemovePeer(2)
		require.Nil(t, e.Peer(2))
		_, err := ask(t.Context(), gone, 0, "")
		require.Error(t, err)
		e.SetPeer(1, "node-1:1")
		require.Nil(t, e.Peer(1), "itself")
	})
}
