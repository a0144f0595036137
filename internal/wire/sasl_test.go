package wire

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sasl"
	kgoplain "github.com/twmb/franz-go/pkg/sasl/plain"
	kgoscram "github.com/twmb/franz-go/pkg/sasl/scram"
)

var scramMechanisms = []string{MechanismScramSHA256, MechanismScramSHA512}

// users is a server's store of one user.
func users(t testing.TB, mechanism, name, password string) Mechanism {
	c, err := NewScramCredential(mechanism, password, nil, MinScramIterations)
	require.NoError(t, err)
	m, err := Scram(mechanism, func(user string) (ScramCredential, bool) { return c, user == name })
	require.NoError(t, err)
	return m
}

func converse(client ClientExchange, server Exchange) error {
	var challenge []byte
	for {
		token, done, err := client.Step(challenge)
		if err != nil || done {
			return err
		}
		if challenge, _, err = server.Step(token); err != nil {
			return err
		}
	}
}

// foreign makes the exchange of another implementation one of ours.
type foreign struct {
	m     sasl.Mechanism
	s     sasl.Session
	ended bool
}

func (f *foreign) Step(challenge []byte) (token []byte, done bool, err error) {
	if f.s == nil {
		f.s, token, err = f.m.Authenticate(context.Background(), "host")
		return token, false, err
	}
	if f.ended {
		return nil, true, nil
	}
	f.ended, token, err = f.s.Challenge(challenge)
	return token, f.ended && len(token) == 0, err
}

func TestScramAuthenticatesWhoKnowsThePasswordWhateverItsCharacters(t *testing.T) {
	for _, mechanism := range scramMechanisms {
		for _, name := range []string{"alice", "a,b=c", "ärger", "日本", "with space"} {
			for _, password := range []string{"pencil", "ﬁ ÄÖ \u00ad", " "} {
				m := users(t, mechanism, name, password)
				client, err := ScramClient(mechanism, name, password)
				require.NoError(t, err)
				e := m.Start()
				require.NoError(t, converse(client.Start(), e))
				require.Equal(t, name, e.User())
			}
		}
	}
}

func TestScramUnderstandsTheClientOfFranzGo(t *testing.T) {
	auth := kgoscram.Auth{User: "a,b=c", Pass: "pencil"}
	for _, theirs := range []sasl.Mechanism{auth.AsSha256Mechanism(), auth.AsSha512Mechanism()} {
		e := users(t, theirs.Name(), "a,b=c", "pencil").Start()
		require.NoError(t, converse(&foreign{m: theirs}, e))
		require.Equal(t, "a,b=c", e.User())
	}
	e := Plain(func(user, password string) bool { return user == "u" && SamePassword(password, "p") }).Start()
	require.NoError(t, converse(&foreign{m: kgoplain.Auth{User: "u", Pass: "p"}.AsMechanism()}, e))
	require.Equal(t, "u", e.User())
}

// The exchange of RFC 7677, chapter 3.
func TestScramIsThatOfTheRFC(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	require.NoError(t, err)
	c, err := NewScramCredential(MechanismScramSHA256, "pencil", salt, 4096)
	require.NoError(t, err)
	m, err := Scram(MechanismScramSHA256, func(string) (ScramCredential, bool) { return c, true })
	require.NoError(t, err)
	m.(*scramMechanism).server.WithNonceGenerator(func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" })
	e := m.Start()
	answer, done, err := e.Step([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
	require.NoError(t, err)
	require.False(t, done)
	require.Empty(t, e.User())
	require.Equal(t, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", string(answer))
	answer, done, err = e.Step([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="))
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", string(answer))
	require.Equal(t, "user", e.User())
}

func TestScramTellsUnknownUsersNoSoonerThanWrongPasswords(t *testing.T) {
	for _, mechanism := range scramMechanisms {
		m := users(t, mechanism, "alice", "pencil")
		var messages []string
		for _, name := range []string{"alice", "nobody"} {
			client, err := ScramClient(mechanism, name, "wrong")
			require.NoError(t, err)
			e, steps := m.Start(), 0
			c := client.Start()
			token, _, err := c.Step(nil)
			for err == nil {
				var answer []byte
				steps++
				if answer, _, err = e.Step(token); err == nil {
					token, _, err = c.Step(answer)
				}
			}
			require.Equal(t, 2, steps)
			require.Empty(t, e.User())
			failure, ok := errors.AsType[*AuthenticationError](err)
			require.True(t, ok)
			messages = append(messages, failure.Message)
		}
		require.Equal(t, messages[0], messages[1])
		first := []byte("n,,n=nobody,r=abc")
		a, _, err := m.Start().Step(first)
		require.NoError(t, err)
		b, _, err := m.Start().Step(first)
		require.NoError(t, err)
		require.Equal(t, string(a[len(a)-37:]), string(b[len(b)-37:]), "its salt stays the same")
	}
}

// librdkafka before 2.6.1 puts its own nonce before the server's once more (librdkafka#4895), and proves the message that has it.
// Apache Kafka let that pass until CVE-2024-56128; now it compares all of the nonce, as RFC 5802 has it.
func TestScramRefusesANonceThatOnlyEndsWithTheServersAsKafkaDoes(t *testing.T) {
	for _, mechanism := range scramMechanisms {
		salt := []byte("salt of alice")
		credential, err := NewScramCredential(mechanism, "pencil", salt, MinScramIterations)
		require.NoError(t, err)
		m, err := Scram(mechanism, func(string) (ScramCredential, bool) { return credential, true })
		require.NoError(t, err)
		hash, err := scramHash(mechanism)
		require.NoError(t, err)
		salted, err := pbkdf2.Key(hash, "pencil", salt, MinScramIterations, hash().Size())
		require.NoError(t, err)
		for quirk, accepted := range map[string]bool{"": true, "mine": false, "x": false} {
			e := m.Start()
			answer, _, err := e.Step([]byte("n,,n=alice,r=mine"))
			require.NoError(t, err)
			nonce, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
			require.True(t, strings.HasPrefix(nonce, "mine") && len(nonce) > len("mine")+16)
			final := "c=biws,r=" + quirk + nonce
			_, done, err := e.Step([]byte(final + ",p=" + scramProof(hash, salted, "n=alice,r=mine,"+string(answer)+","+final)))
			require.Equal(t, accepted, done, quirk)
			if accepted {
				require.NoError(t, err)
				require.Equal(t, "alice", e.User())
				continue
			}
			failure, ok := errors.AsType[*AuthenticationError](err)
			require.True(t, ok)
			require.Equal(t, "Authentication failed during authentication due to invalid credentials with SASL mechanism "+mechanism, failure.Message)
			require.Empty(t, e.User())
		}
	}
}

// scramProof is what a client that knows a salted password proves a conversation with (RFC 5802, chapter 3).
func scramProof(hash func() hash.Hash, salted []byte, conversation string) string {
	sign := func(key []byte, text string) []byte {
		mac := hmac.New(hash, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	client := sign(salted, "Client Key")
	stored := hash()
	stored.Write(client)
	proof := make([]byte, len(client))
	subtle.XORBytes(proof, client, sign(stored.Sum(nil), conversation))
	return base64.StdEncoding.EncodeToString(proof)
}

func TestMechanismsRefuseWhatTheyCannotReadAndOtherIdentities(t *testing.T) {
	m := users(t, MechanismScramSHA256, "alice", "pencil")
	for _, token := range []string{"", "n", "n,,n=,r=x", "n,,", "p=tls-unique,,n=alice,r=x", "n,,n=al=ice,r=x", "n,a=bob,n=alice,r=x", "\x00\xff", "n,,m=x,n=alice,r=x"} {
		e := m.Start()
		_, done, err := e.Step([]byte(token))
		require.Error(t, err, "%q", token)
		require.False(t, done)
		require.Empty(t, e.User())
		_, done, err = e.Step([]byte("c=biws,r=x,p=AAAA"))
		require.Error(t, err, "%q", token)
		require.False(t, done)
	}
	p := Plain(func(user, password string) bool { return user == "alice" && password == "pencil" })
	for token, message := range map[string]string{
		"":                         "Invalid SASL/PLAIN response: expected 3 tokens, got 1",
		"alice":                    "expected 3 tokens, got 1",
		"\x00\x00pencil":           "username not specified",
		"\x00alice\x00":            "password not specified",
		"\x00alice\x00pencil\x00":  "expected 3 tokens, got 4",
		"\x00alice\x00wrong":       "Invalid username or password",
		"bob\x00alice\x00pencil":   "different from username",
		"alice\x00bob\x00pencil":   "Invalid username or password",
		"\x00alice\x00pencil\xff":  "Invalid username or password",
		"\x00ALICE\x00pencil":      "Invalid username or password",
		"alice\x00alice\x00Pencil": "Invalid username or password",
	} {
		e := p.Start()
		_, done, err := e.Step([]byte(token))
		require.ErrorContains(t, err, message, "%q", token)
		require.False(t, done)
		require.Empty(t, e.User())
		_, _, err = e.Step([]byte("\x00alice\x00pencil"))
		require.Error(t, err, "a second try on the same exchange")
	}
	e := p.Start()
	_, done, err := e.Step([]byte("alice\x00alice\x00pencil"))
	require.NoError(t, err)
	require.True(t, done)
}

// The host may refuse who knows the password, with the words for who does not.
func TestARefusedExchangeIsOverAndSaysWhatAWrongPasswordGets(t *testing.T) {
	check := Plain(func(user, password string) bool { return user == "alice" && password == "pencil" })
	for _, m := range []Mechanism{check, users(t, MechanismScramSHA256, "alice", "pencil"), users(t, MechanismScramSHA512, "alice", "pencil")} {
		client := func(password string) ClientExchange {
			if m.Name() == MechanismPlain {
				return PlainClient("alice", password).Start()
			}
			c, err := ScramClient(m.Name(), "alice", password)
			require.NoError(t, err)
			return c.Start()
		}
		right, wrong := m.Start(), m.Start()
		require.Empty(t, right.Claimed())
		require.NoError(t, converse(client("pencil"), right))
		refusal := right.Refuse()
		require.Empty(t, right.User())
		require.Equal(t, "alice", right.Claimed())
		_, _, err := right.Step([]byte("\x00alice\x00pencil"))
		require.Error(t, err)
		err = converse(client("wrong"), wrong)
		require.Equal(t, "alice", wrong.Claimed())
		same, ok := errors.AsType[*AuthenticationError](err)
		require.True(t, ok)
		other, ok := errors.AsType[*AuthenticationError](refusal)
		require.True(t, ok)
		require.Equal(t, same.Message, other.Message)
	}
}

func TestScramClientDoesNotBelieveAServerThatLacksTheCredential(t *testing.T) {
	real := users(t, MechanismScramSHA512, "alice", "pencil")
	c := real.(*scramMechanism)
	lookup := c.lookup
	c.lookup = func(user string) (ScramCredential, bool) {
		credential, known := lookup(user)
		credential.ServerKey = make([]byte, 64) // it has stolen the stored key only
		return credential, known
	}
	client, err := ScramClient(MechanismScramSHA512, "alice", "pencil")
	require.NoError(t, err)
	require.Error(t, converse(client.Start(), real.Start()))
}

func TestScramCredentialsNeedAMechanismAndKafkasIterations(t *testing.T) {
	_, err := NewScramCredential("SCRAM-SHA-1", "p", nil, 4096)
	require.Error(t, err)
	_, err = ScramClient(MechanismPlain, "u", "p")
	require.Error(t, err)
	_, err = Scram(MechanismPlain, nil)
	require.Error(t, err)
	for _, iterations := range []int{0, 4095, 16385} {
		_, err = NewScramCredential(MechanismScramSHA256, "p", nil, iterations)
		require.Error(t, err)
	}
}

func FuzzExchanges(f *testing.F) {
	f.Add("n,,n=user,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("\x00alice\x00pencil", "")
	m := users(f, MechanismScramSHA256, "alice", "pencil")
	p := Plain(func(user, password string) bool { return false })
	f.Fuzz(func(t *testing.T, first, second string) {
		for _, e := range []Exchange{m.Start(), p.Start()} {
			for _, token := range []string{first, second, first} {
				if _, done, _ := e.Step([]byte(token)); done || e.User() != "" {
					t.Fatalf("authenticated by %q, %q", first, second)
				}
			}
		}
	})
}
