//! The senders: signed deliveries with unique ids over so many connections, one after another on each.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Where deliveries go.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) key: Vec<u8>,
    /// What is answered if it was taken.
    pub(crate) status: u16,
}

/// What was done.
pub(crate) struct Done {
    pub(crate) answered: usize,
    elapsed: Duration,
}

impl Done {
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends for that long.
pub(crate) async fn run(
    places: &[Place],
    connections: usize,
    time: Duration,
    round: usize,
) -> Result<Done> {
    let places: Arc<[Place]> = places.into();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(connections)
        .build()?;
    let started = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..connections {
        let (places, http) = (places.clone(), http.clone());
        senders.spawn(async move {
            let mut answered = 0;
            while started.elapsed() < time {
                let place = &places[(sender * 7919 + answered * 31) % places.len()];
                let id = format!("msg_{round}_{sender}_{answered}");
                send(&http, place, &id).await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(sent) = senders.join_next().await {
        answered += sent.context("a sender ended badly")??;
    }
    Ok(Done { answered, elapsed: started.elapsed() })
}

async fn send(http: &reqwest::Client, place: &Place, id: &str) -> Result<()> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let seconds = since.as_secs().to_string();
    let body = format!(r#"{{"id":"{id}","level":"low","service":"checkout","text":"it is slow"}}"#);
    let mut mac = Hmac::<Sha256>::new_from_slice(&place.key).context("a key")?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let answer = http
        .post(&place.url)
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", format!("v1,{signature}"))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    anyhow::ensure!(status == place.status, "answered {status}: {text}");
    Ok(())
}
