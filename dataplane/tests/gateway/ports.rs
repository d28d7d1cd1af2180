//! Connections and datagrams that are passed on from ports.

use std::net::SocketAddr;
use std::time::Duration;

use eddy_e2e::reserved_address;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::support::GatewayProcess;

/// A gateway with Routes for ports, from the oldest on, to one backend; and where the ports are.
fn gateway(routes: &[(&str, u16, Value)], backend: SocketAddr, arguments: &[&str]) -> GatewayProcess {
    let route = |(number, (protocol, port, fields)): (usize, &(&str, u16, Value))| {
        let mut spec = json!({"protocol": protocol, "port": port, "backends": [{"container": "web", "port": 80}]});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"place": {"namespace": "u-ada", "name": format!("r{number}")}, "created": number, "spec": spec})
    };
    let addresses = json!({"80": [backend]});
    let inputs = json!({
        "routes": routes.iter().enumerate().map(route).collect::<Vec<_>>(),
        "slices": [{
            "slice": {"namespace": "u-ada", "name": "web-1"}, "service": "web", "ready": addresses, "leaving": {},
            "datagrams": {"ready": addresses, "leaving": {}},
        }],
    });
    tokio::task::block_in_place(|| GatewayProcess::start(&inputs, arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_passed_on_from_its_port_and_the_backend_may_speak_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                connection.write_all(b"220 ready\n").await?;
                let mut asked = String::new();
                connection.read_to_string(&mut asked).await?;
                connection.write_all(format!("you said {asked}").as_bytes()).await
            });
        }
    });
    let [open, closed, unused] = [(); 3].map(|()| reserved_address());
    let routes = [
        ("TCP", open.port(), json!({})),
        ("TCP", open.port(), json!({"ipFilter": {"deny": ["0.0.0.0/0"]}})),
        ("TCP", closed.port(), json!({"ipFilter": {"deny": ["127.0.0.0/8"]}})),
    ];
    let ports = format!("--port=tcp/{},tcp/{},tcp/{}", open.port(), closed.port(), unused.port());
    let mut gateway = gateway(&routes, backend, &[&ports]);
    let mut client = TcpStream::connect(open).await.unwrap();
    let mut greeting = [0; 10];
    client.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ready\n");
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "you said hello");
    for cut in [closed, unused] {
        let mut client = TcpStream::connect(cut).await.unwrap();
        let said = timeout(Duration::from_secs(10), client.read(&mut [0])).await.unwrap();
        assert!(matches!(said, Ok(0) | Err(_)), "{said:?}");
    }
    // Whoever says nothing any more holds up no end.
    let _silent = TcpStream::connect(open).await.unwrap();
    assert!(tokio::task::block_in_place(|| gateway.end()));
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_a_client_go_to_one_backend_and_answers_come_back() {
    let backend = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = backend.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((count, from)) = backend.recv_from(&mut buffer).await {
            let _ = backend.send_to(&[&from.port().to_be_bytes(), &buffer[..count]].concat(), from).await;
        }
    });
    let port = reserved_address();
    let arguments = format!("--port=udp/{}", port.port());
    let mut gateway = gateway(&[("UDP", port.port(), json!({"timeouts": {"idleSeconds": 1}}))], address, &[&arguments]);
    let clients = [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    let ask = async |client: &UdpSocket, text: &[u8]| -> Option<u16> {
        client.connect(port).await.unwrap();
        client.send(text).await.unwrap();
        let mut answer = vec![0; 65_535];
        let count = timeout(Duration::from_secs(5), client.recv(&mut answer)).await.ok()?.ok()?;
        assert_eq!(&answer[2..count], text);
        Some(u16::from_be_bytes([answer[0], answer[1]]))
    };
    let large = vec![b'x'; 20_000];
    let (first, other) = (ask(&clients[0], b"a").await.unwrap(), ask(&clients[1], b"b").await.unwrap());
    assert_ne!(first, other, "each has a socket of its own to the backend");
    assert_eq!((ask(&clients[0], &large).await, ask(&clients[1], b"").await), (Some(first), Some(other)));
    // After a silence it is begun anew.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(ask(&clients[0], b"again").await.is_some_and(|port| port != first));
    echo.abort();
    assert!(tokio::task::block_in_place(|| gateway.end()));
}

#[test]
fn a_port_that_is_given_twice_or_is_the_gateways_own_is_refused() {
    let (inputs, address) = (tempfile::NamedTempFile::new().unwrap(), reserved_address());
    std::fs::write(inputs.path(), r#"{"routes": [], "slices": []}"#).unwrap();
    let ended = |ports: &str| {
        // Those that are good are served from: 124 says that it had to be ended.
        let mut gateway = std::process::Command::new("timeout");
        gateway.args(["-s", "KILL", "3", env!("CARGO_BIN_EXE_eddy-dataplane"), "gateway"]);
        gateway.arg(format!("--static-file={}", inputs.path().display())).arg(format!("--listen={address}"));
        gateway.arg(format!("--admin-address={}", reserved_address())).arg(format!("--port={ports}"));
        let ended = gateway.output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout))
    };
    for ports in ["tcp/5432,tcp/5432".to_owned(), format!("tcp/{}", address.port())] {
        let (code, said) = ended(&ports);
        assert!(code == Some(1) && said.contains("is there already"), "{ports}: {code:?} {said}");
    }
    for ports in ["sctp/1", "tcp/0", "tcp/70000"] {
        let (code, said) = ended(ports);
        assert!(code == Some(2) && said.contains("is no port"), "{ports}: {code:?} {said}");
    }
    let good = reserved_address().port();
    let (code, said) = ended(&format!("tcp/{good},udp/{good}"));
    assert!(!matches!(code, Some(1 | 2)), "{code:?} {said}");
}
