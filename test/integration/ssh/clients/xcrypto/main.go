// What golang.org/x/crypto/ssh does, as one JSON object of check to result: the caller compares a direct and a gated session.
// Arguments: PORT KEY TARGET_PORT HOST_KEY (a line of authorized_keys).
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

type check struct {
	name string
	run  func(*ssh.Client) any
}

func allBytes() []byte {
	data := make([]byte, 1<<20)
	for index := range data {
		data[index] = byte(index)
	}
	return data
}

// run gives exit status, or the signal's name, or the error.
func run(client *ssh.Client, command string, input []byte) (any, []byte, []byte) {
	session, err := client.NewSession()
	if err != nil {
		return err.Error(), nil, nil
	}
	defer session.Close()
	var out, errors_ bytes.Buffer
	session.Stdout, session.Stderr = &out, &errors_
	if input != nil {
		session.Stdin = bytes.NewReader(input)
	}
	err = session.Run(command)
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return 0, out.Bytes(), errors_.Bytes()
	case errors.As(err, &exit) && exit.Signal() != "":
		return exit.Signal(), out.Bytes(), errors_.Bytes()
	case errors.As(err, &exit):
		return exit.ExitStatus(), out.Bytes(), errors_.Bytes()
	default:
		return err.Error(), out.Bytes(), errors_.Bytes()
	}
}

var checks = []check{
	{"statuses", func(client *ssh.Client) any {
		var results []any
		for _, status := range []int{0, 1, 7, 126, 127, 255} {
			result, _, _ := run(client, fmt.Sprintf("exit %d", status), nil)
			results = append(results, result)
		}
		return results
	}},
	{"a signal", func(client *ssh.Client) any {
		result, _, _ := run(client, `sh -c "kill -TERM $$"`, nil)
		return result
	}},
	{"a signal that is sent", func(client *ssh.Client) any {
		session, err := client.NewSession()
		if err != nil {
			return err.Error()
		}
		defer session.Close()
		out, _ := session.StdoutPipe()
		if err := session.Start("echo ready; exec sleep 60"); err != nil {
			return err.Error()
		}
		if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
			return err.Error()
		}
		if err := session.Signal(ssh.SIGTERM); err != nil {
			return err.Error()
		}
		var exit *ssh.ExitError
		if err := session.Wait(); errors.As(err, &exit) {
			return exit.Signal()
		} else {
			return fmt.Sprint(err)
		}
	}},
	{"standard streams", func(client *ssh.Client) any {
		status, out, err := run(client, "echo out; echo err >&2; exit 3", nil)
		return []any{status, string(out), string(err)}
	}},
	{"every byte", func(client *ssh.Client) any {
		data := allBytes()
		status, out, _ := run(client, "cat", data)
		return []any{status, bytes.Equal(out, data)}
	}},
	{"channels at once", func(client *ssh.Client) any {
		results := make([]any, 8)
		var group sync.WaitGroup
		for index := range results {
			group.Add(1)
			go func() {
				defer group.Done()
				status, out, _ := run(client, fmt.Sprintf("echo %d; exit %d", index, index), nil)
				results[index] = []any{status, string(out)}
			}()
		}
		group.Wait()
		return results
	}},
	{"new keys during bulk data", func(client *ssh.Client) any {
		// RekeyThreshold below makes this one of many.
		data := bytes.Repeat(allBytes(), 4)
		status, out, _ := run(client, "cat", data)
		return []any{status, bytes.Equal(out, data)}
	}},
	{"a terminal", func(client *ssh.Client) any {
		session, err := client.NewSession()
		if err != nil {
			return err.Error()
		}
		defer session.Close()
		if err := session.RequestPty("vt100", 33, 101, ssh.TerminalModes{ssh.ECHO: 0}); err != nil {
			return err.Error()
		}
		out, err := session.Output("stty size")
		return []any{string(out), fmt.Sprint(err)}
	}},
	{"a local forward", func(client *ssh.Client) any {
		connection, err := client.Dial("tcp", net.JoinHostPort("127.0.0.1", os.Args[3]))
		if err != nil {
			return err.Error()
		}
		defer connection.Close()
		greeting := make([]byte, 8)
		if _, err := io.ReadFull(connection, greeting); err != nil {
			return err.Error()
		}
		return string(greeting)
	}},
	{"a remote forward", func(client *ssh.Client) any {
		listener, err := client.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err.Error()
		}
		defer listener.Close()
		go func() {
			if connection, err := listener.Accept(); err == nil {
				io.WriteString(connection, "from the client")
				connection.Close()
			}
		}()
		connection, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return err.Error()
		}
		text, err := io.ReadAll(connection)
		return []any{string(text), fmt.Sprint(err)}
	}},
	{"an unknown global request", func(client *ssh.Client) any {
		ok, _, err := client.SendRequest("nobody-knows@example.com", true, nil)
		return []any{ok, fmt.Sprint(err)}
	}},
	{"an unknown channel", func(client *ssh.Client) any {
		_, _, err := client.OpenChannel("nobody-knows@example.com", nil)
		return err != nil
	}},
}

func main() {
	key, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		panic(err)
	}
	hostKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(os.Args[4]))
	if err != nil {
		panic(err)
	}
	config := &ssh.ClientConfig{
		Config:          ssh.Config{RekeyThreshold: 1 << 20},
		User:            "deploy",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(hostKey),
		// Only the key that was handed over: a gateway may offer a certificate, too.
		HostKeyAlgorithms: []string{hostKey.Type()},
	}
	client, err := ssh.Dial("tcp", net.JoinHostPort("127.0.0.1", os.Args[1]), config)
	if err != nil {
		fmt.Fprintln(os.Stderr, strings.TrimSpace(err.Error()))
		os.Exit(1)
	}
	defer client.Close()
	results := map[string]any{}
	for _, check := range checks {
		results[check.name] = check.run(client)
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}
