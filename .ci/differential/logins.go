package main

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/xdg-go/scram"
)

// The user of the listener that asks for SASL, by PLAIN and by SCRAM.
const (
	loginUser     = "carol"
	loginPassword = "secret"
)

// prepareLogins gives both brokers the user's credentials of SCRAM; PLAIN's are in their properties.
func (r *run) prepareLogins() {
	salt := []byte("sixteen bytes...")
	short, err := pbkdf2.Key(sha256.New, loginPassword, salt, 4096, sha256.Size)
	if err != nil {
		fail(err)
	}
	long, err := pbkdf2.Key(sha512.New, loginPassword, salt, 4096, sha512.Size)
	if err != nil {
		fail(err)
	}
	for mechanism, salted := range map[int8][]byte{1: short, 2: long} {
		r.both("credentials", func(s *side) kmsg.Response {
			req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
			u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
			u.Name, u.Mechanism, u.Iterations, u.Salt, u.SaltedPassword = loginUser, mechanism, 4096, salt, salted
			req.Upsertions = append(req.Upsertions, u)
			return s.ask(0, req)
		})
	}
	r.barrier()
}

// logins draws n connections that log in, or try to, in the order in which clients do, and in others.
func (r *run) logins(seed uint64, n int) {
	r.prepareLogins()
	for i := range n {
		k, p := newLogin(r.kafka), newLogin(r.partlog)
		g := rand.New(rand.NewPCG(seed, 1<<32+uint64(i)))
		story := ""
		for range 8 {
			draws, before := g.Uint64(), r.different
			what := ""
			name := fmt.Sprintf("login %d:%s", i, story)
			r.both(name, func(s *side) kmsg.Response {
				of := k
				if s == r.partlog {
					of = p
				}
				var resp kmsg.Response
				what, resp = of.step(rand.New(rand.NewPCG(draws, 0)))
				if s == r.kafka {
					story += " > " + what
				}
				return resp
			})
			if r.different > before {
				fmt.Println("  after", story)
			}
			if k.over || p.over || r.different > before {
				break
			}
		}
		k.conn.Close()
		p.conn.Close()
	}
}

// login is a connection to the listener that asks for SASL.
type login struct {
	side      *side
	conn      net.Conn
	mechanism string // that was taken
	raw       bool   // its tokens have no headers: SaslHandshake 0
	scram     *scram.ClientConversation
	last      string // what the broker has said in SCRAM
	admitted  bool
	over      bool
}

func newLogin(s *side) *login { return &login{side: s, conn: s.dial(s.sasl)} }

// step sends something and returns what it was, and the answer.
func (l *login) step(g *rand.Rand) (string, kmsg.Response) {
	if l.mechanism != "" && l.raw && !l.admitted {
		what, token := l.token(g)
		return what, l.sendRaw(token)
	}
	var req kmsg.Request
	var version int16
	what := ""
	draw := g.IntN(20)
	switch {
	case draw < 2 || l.admitted && draw < 10:
		version, req = int16(g.IntN(6)), &kmsg.ApiVersionsRequest{ClientSoftwareName: "differential", ClientSoftwareVersion: "1"}
	case draw == 2 || l.admitted:
		one := kmsg.NewPtrListTransactionsRequest()
		req = one
		l.over = true // the answer to one that is not admitted is Kafka's way to say so; here the connection closes
	case l.mechanism == "" && draw < 18:
		mechanism := []string{"PLAIN", "PLAIN", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "", "plain"}[g.IntN(9)]
		version, req = int16(g.IntN(2)), &kmsg.SASLHandshakeRequest{Mechanism: mechanism}
		what = " " + mechanism
	default:
		one := kmsg.NewPtrSASLAuthenticateRequest()
		what, one.SASLAuthBytes = l.token(g)
		version, req = int16(g.IntN(3)), one
		what = " " + what
	}
	req.SetVersion(version)
	resp := l.side.exchange(l.conn, req)
	l.learn(req, resp)
	return fmt.Sprint(kmsg.NameForKey(req.Key()), " ", version, what), resp
}

// learn follows where the connection stands.
func (l *login) learn(req kmsg.Request, resp kmsg.Response) {
	switch a := resp.(type) {
	case nil:
		l.over = true
	case *kmsg.SASLHandshakeResponse:
		if a.ErrorCode == 0 {
			l.mechanism, l.raw = req.(*kmsg.SASLHandshakeRequest).Mechanism, req.GetVersion() == 0
		}
	case *kmsg.SASLAuthenticateResponse:
		if a.ErrorCode == 0 {
			l.heard(a.SASLAuthBytes)
		}
	}
}

func (l *login) heard(token []byte) {
	l.last = string(token)
	l.admitted = l.mechanism == "PLAIN" || l.scram != nil && l.scram.Done()
	if l.scram != nil && len(token) > 0 && token[0] == 'v' {
		l.admitted = true
	}
}

// token draws what proves who the user is, mostly rightly.
func (l *login) token(g *rand.Rand) (what string, token []byte) {
	kind := g.IntN(16)
	if kind < 6 {
		return []string{"nothing", "garbage", "another", "wrong password", "no user", "zeros"}[kind], [][]byte{
			{}, []byte("garbage"), []byte("\x00nobody\x00secret"), []byte("\x00" + loginUser + "\x00wrong"), []byte("\x00\x00secret"), {0, 0, 0, 0}}[kind]
	}
	if l.mechanism != "SCRAM-SHA-256" && l.mechanism != "SCRAM-SHA-512" {
		if kind == 6 {
			return "for another", []byte("other\x00" + loginUser + "\x00" + loginPassword)
		}
		return "right", []byte("\x00" + loginUser + "\x00" + loginPassword)
	}
	if l.scram == nil {
		hash := scram.SHA256
		if l.mechanism == "SCRAM-SHA-512" {
			hash = scram.SHA512
		}
		password := loginPassword
		if kind < 9 {
			password = "wrong"
		}
		client, err := hash.NewClient(loginUser, password, "")
		if err != nil {
			fail(err)
		}
		l.scram = client.NewConversation()
		l.last = ""
	}
	text, err := l.scram.Step(l.last)
	if err != nil {
		return "broken", []byte("broken")
	}
	return "next", []byte(text)
}

// sendRaw sends a token without a header. Its answer has none either.
func (l *login) sendRaw(token []byte) kmsg.Response {
	answer, err := tokenTrip(l.conn, append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
	if err != nil {
		l.over = true
		return nil
	}
	l.heard(answer)
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	resp.SASLAuthBytes = answer
	return resp
}
